import { create } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProto_DataType,
} from 'onnx-buf';
import { floatAttribute, integerAttribute } from './constants.js';
import { createGraphWriter, type GraphWriter } from './graph-writer.js';
import { decodedModel, integersAttribute, type OnnxModel } from './model-file.js';

// Operators changed little between the sets 7 and 11: they were widened, or attributes became inputs.

/** The set that models are brought to: the first in which what is written into them can be said. */
export const upgradedOpset = 11;
const leastOpset = 7; // before it, sums broadcast by other rules
const irVersion = 6n; // of the format in which set 11 was published

/** Operators that are written in another form, or that mean something else, by the first set in which they do. */
const changed: Readonly<Record<string, (graph: GraphWriter, node: NodeProto) => NodeChanges | undefined>> = {
  BatchNormalization: (_, node) =>
    integerAttribute(node, 'spatial', 1) === 1 ? { drop: ['spatial'] } : undefined,
  Clip: (graph, node) => {
    const [low, high] = ['min', 'max'].map((name) =>
      hasAttribute(node, name) ? graph.floats([floatAttribute(node, name, 0)], []) : '',
    );
    return { drop: ['min', 'max'], inputs: [node.input[0], low, high] };
  },
  Slice: (graph, node) => {
    const [starts, ends] = ['starts', 'ends'].map((name) => integersAttribute(node, name));
    if (starts === undefined || ends === undefined) return node.input.length > 1 ? {} : undefined;
    const axes = integersAttribute(node, 'axes') ?? [...starts.keys()];
    const inputs = [starts, ends, axes].map((values) => graph.integers(values, [values.length]));
    return { drop: ['starts', 'ends', 'axes'], inputs: [node.input[0], ...inputs] };
  },
  Pad: (graph, node) => {
    const pads = integersAttribute(node, 'pads');
    if (pads === undefined) return undefined;
    const value = graph.floats([floatAttribute(node, 'value', 0)], []);
    return { drop: ['pads', 'value'], inputs: [node.input[0], graph.integers(pads, [pads.length]), value] };
  },
  TopK: (graph, node) =>
    hasAttribute(node, 'k')
      ? { drop: ['k'], inputs: [node.input[0], graph.integers([integerAttribute(node, 'k', 1)], [1])] }
      : {},
};

interface NodeChanges {
  readonly drop?: readonly string[];
  readonly inputs?: readonly string[];
}

/** Operators that cannot be brought over: they mean something else, or hold graphs of their own. */
const refused: ReadonlySet<string> = new Set([
  'Upsample',
  'Resize',
  'If',
  'Loop',
  'Scan',
  'MaxUnpool',
  'Expand',
]);

/** Why a model of an old operator set cannot be brought to {@link upgradedOpset}; undefined where it can, or needs not. */
export function upgradeProblem(model: OnnxModel): string | undefined {
  if (model.opset >= upgradedOpset) return undefined;
  if (model.opset < leastOpset) return 'it is too old';
  const own = model.graph.node.filter(
    ({ domain }) => domain === '' || domain === 'ai.onnx' || domain === undefined,
  );
  const first = own.find(({ opType }) => refused.has(opType));
  if (first) return `it has the operator ${first.opType}`;
  const isSingle = [...model.initializers.values()].every(
    ({ dataType }) => dataType !== TensorProto_DataType.FLOAT16 && dataType !== TensorProto_DataType.DOUBLE,
  );
  const limits = own.find(({ opType }) => opType === 'Clip' || opType === 'Pad');
  if (!isSingle && limits) return `its ${limits.opType} may not be in single precision`;
  const scratch = createGraphWriter(create(GraphProtoSchema, {}), upgradedOpset, { prefix: '' });
  const stuck = own.find(
    (node) => changed[node.opType] !== undefined && changed[node.opType](scratch, node) === undefined,
  );
  return stuck && `its ${stuck.opType} has a form that is not known`;
}

/**
 * A model of the operator sets 7 to 10 as one of set 11: the same graph, attributes that became inputs as constants. A
 * newer one is returned as it is.
 *
 * @param model without an {@link upgradeProblem}
 *
 * @see https://github.com/onnx/onnx/blob/main/docs/Changelog.md for what changed between the sets
 */
export function upgradeOperators(model: OnnxModel): OnnxModel {
  if (model.opset >= upgradedOpset) return model;
  const graph: GraphProto = create(GraphProtoSchema, {
    ...model.graph,
    node: [],
    initializer: [...model.graph.initializer],
  });
  const writer = createGraphWriter(graph, upgradedOpset, { prefix: 'kd_spec_set_11_' });
  graph.node = model.graph.node.map((node) => {
    const changes = changed[node.opType]?.(writer, node);
    if (changes === undefined) return node;
    const { drop = [], inputs = node.input } = changes;
    const { name, opType, output, domain, docString } = node;
    return create(NodeProtoSchema, {
      name,
      opType,
      domain,
      docString,
      output: [...output],
      input: withoutTrailing(inputs),
      attribute: node.attribute.filter((one) => !drop.includes(one.name)),
    });
  });
  const proto = create(ModelProtoSchema, {
    ...model.proto,
    irVersion: model.proto.irVersion > irVersion ? model.proto.irVersion : irVersion,
    opsetImport: model.proto.opsetImport.map((one) =>
      one.domain === '' || one.domain === 'ai.onnx'
        ? create(OperatorSetIdProtoSchema, { domain: '', version: BigInt(upgradedOpset) })
        : one,
    ),
    graph,
  });
  return decodedModel(model.path, proto, model.bytes);
}

function hasAttribute(node: NodeProto, name: string): boolean {
  return node.attribute.some(
    (one) => one.name === name && one.type !== AttributeProto_AttributeType.UNDEFINED,
  );
}

/** Optional inputs at the end are left out, in the middle they are empty names. */
function withoutTrailing(inputs: readonly string[]): string[] {
  const last = inputs.findLastIndex((name) => name !== '');
  return inputs.slice(0, last + 1);
}
