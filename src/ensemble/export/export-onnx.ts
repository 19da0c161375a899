import { create, toBinary } from '@bufbuild/protobuf';
import {
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataType,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import { KdSpecError } from '../../core/errors.js';
import { packageVersion } from '../../core/package.js';
import type { ClassNames } from '../../models/classifier.js';
import { type Network, networkValues } from '../../models/network.js';
import { wholeModel } from '../../models/onnx/constants.js';
import { createGraphWriter, type GraphWriter } from '../../models/onnx/graph-writer.js';
import { fusedNamesKey, fusedOutputKey, type OnnxModel } from '../../models/onnx/model-file.js';
import {
  type FoldedLayer,
  foldedDenseLayers,
  writeConvolutions,
  writeDense,
} from '../../models/onnx/network-graph.js';
import type { OnnxBackboneDescription } from '../../models/onnx/onnx-backbone.js';
import { type Reading, toModelInput } from '../../models/onnx/reading.js';
import type { InputTensor } from '../../models/onnx/runtime.js';
import type { HostTensor } from '../../models/safetensors.js';
import type { EnsembleFile } from '../ensemble-file.js';
import { fusionRule } from '../rules/index.js';
import { parameterValue } from '../rules/rule.js';
import { massShift } from '../rules/share-inside.js';
import type { Specialist } from '../specialist/specialist.js';
import { writeFusion } from './fusion-graph.js';
import type { ExportedSpecialist } from './query-graph.js';

/** An ensemble as one ONNX model. */
export interface ExportedModel {
  readonly bytes: Uint8Array;
  /** The name of the image input. */
  readonly input: string;
  readonly outputs: { readonly probabilities: string; readonly generalist: string };
  /** Images (count, height, width, channels) in [0, 1] as the model takes them. */
  feed(images: Float32Array, count: number): InputTensor;
}

/** What is exported. */
export interface ExportedParts {
  readonly generalist: Network;
  readonly specialists: readonly Specialist[];
  readonly settings: EnsembleFile;
  readonly classes: ClassNames;
  /** The model of an imported generalist, and how it is cut and fed. */
  readonly imported?: { readonly model: OnnxModel; readonly backbone: OnnxBackboneDescription } | undefined;
}

const ownOpset = 17;
const leastOpset = 11; // GatherElements and ScatterElements
const irVersion = 8n;
const ours = 'kd_spec_'; // begins the name of everything that is added
const mostBytes = 2 ** 31 - 1; // of a protocol buffer

/**
 * Writes a generalist with its specialists, their calibration, routing and fusion as one ONNX model in standard
 * operators, with the outputs `probabilities`, fused, and `generalist`: (batch, classes).
 *
 * A generalist of our own has the input `images`, (batch, channels, height, width), float32 in [0, 1], and the names of
 * its classes in the metadata, key `names`, as a JSON list. An imported one keeps its graph, inputs, outputs and
 * metadata as they are, and gets these two outputs beside its own; the names stand under `kd_spec_names`. The metadata
 * name the fused output, so that `openOnnxClassifier` finds it.
 *
 * @throws KdSpecError `option-invalid` for what has no form as a graph: rules, specialists that retrained convolutions
 * or have a full head, corrections that depend on the image, old operator sets, and models over 2 GB
 */
export async function exportOnnx(parts: ExportedParts): Promise<ExportedModel> {
  const { generalist, specialists, settings, classes, imported } = parts;
  const { definition } = generalist;
  const opset = imported?.model.opset ?? ownOpset;
  if (opset < leastOpset) {
    throw new KdSpecError(
      'option-invalid',
      `the model is of operator set ${opset}, and the fusion needs ${leastOpset}: convert it ` +
        '(onnx.version_converter.convert_version(model, 17) in Python) and import it again',
    );
  }
  const graph = create(
    GraphProtoSchema,
    imported ? { ...imported.model.graph } : { name: 'kd-spec ensemble' },
  );
  graph.node = [...graph.node];
  graph.initializer = [...graph.initializer];
  const writer = createGraphWriter(graph, opset, { prefix: ours });
  const values = await networkValues(generalist);
  const features = imported
    ? writeImportedFeatures(writer, imported.backbone)
    : writeConvolutions(writer, 'images', definition, values);
  const layers = foldedDenseLayers(definition, values);
  const hidden = writeHidden(writer, features, layers);
  const logits = writeDense(writer, hidden, layers.slice(-1));
  const kept = specialists.filter((_, position) => settings.specialists[position].kept);
  const isHeadAlone = kept.some(({ config }) => config.retrain === 'head');
  const fused = writeFusion(
    writer,
    { logits, features: isHeadAlone ? hidden : features },
    {
      classes: definition.outputs,
      width: isHeadAlone ? (layers.at(-2)?.bias.length ?? widthOf(layers)) : widthOf(layers),
      generalistTemperature: settings.generalistTemperature,
      routing: routingOf(settings, kept, definition.outputs),
      rule: settings.rule,
      dustbinTrust: settings.parameters?.dustbinTrust ?? 0,
      specialists: await Promise.all(
        specialists.flatMap((specialist, position) =>
          settings.specialists[position].kept ? [exported(specialist, settings, position, isHeadAlone)] : [],
        ),
      ),
    },
  );
  const taken = new Set(graph.node.flatMap(({ output }) => output));
  const nameOf = (name: string) => (taken.has(name) ? `kd_spec_${name}` : name);
  const outputs = { probabilities: nameOf('probabilities'), generalist: nameOf('generalist') };
  writer.name(fused.probabilities, outputs.probabilities);
  writer.name(fused.generalist, outputs.generalist);
  const infos = Object.values(outputs).map((name) => valueInfo(name, ['batch', definition.outputs]));
  graph.output = [...graph.output, ...infos];
  const entries = {
    [fusedOutputKey]: outputs.probabilities,
    [imported ? fusedNamesKey : 'names']: JSON.stringify(classes),
  };
  const added = Object.entries(entries).map(([key, value]) =>
    create(StringStringEntryProtoSchema, { key, value }),
  );
  removeUnused(graph);
  checkSize(graph);
  if (imported) {
    const { model, backbone } = imported;
    const metadataProps = [
      ...model.proto.metadataProps.filter(({ key }) => !Object.hasOwn(entries, key)),
      ...added,
    ];
    const proto = create(ModelProtoSchema, { ...model.proto, metadataProps });
    const { input, reading } = backbone;
    return {
      bytes: await wholeModel({ ...model, proto }, graph),
      input: input.name,
      outputs,
      feed: (images, count) => toModelInput(input, reading, images, count),
    };
  }
  const { height, width, channels } = definition.input;
  graph.input = [valueInfo('images', ['batch', channels, height, width])];
  const model = create(ModelProtoSchema, {
    irVersion,
    producerName: 'kd-spec',
    producerVersion: packageVersion(),
    opsetImport: [create(OperatorSetIdProtoSchema, { domain: '', version: BigInt(opset) })],
    graph,
    metadataProps: added,
  });
  const asTheyAre: Reading = {
    order: 'rgb',
    normalisation: {
      name: '0 to 1',
      mean: Array.from({ length: channels }, () => 0),
      deviation: Array.from({ length: channels }, () => 1),
    },
  };
  const input = { type: 'float32', layout: 'channels-first', image: definition.input } as const;
  return {
    bytes: toBinary(ModelProtoSchema, model),
    input: 'images',
    outputs,
    feed: (images, count) => toModelInput(input, asTheyAre, images, count),
  };
}

/** The features of an imported model, (batch, width): of a sequence recogniser those of the least blank step. */
function writeImportedFeatures(
  graph: GraphWriter,
  { features, output, blank, width }: OnnxBackboneDescription,
): string {
  if (blank === null) return graph.reshape(features, [-1, width]);
  const blanks = graph.gather(output, graph.integers([blank], []), 2); // (batch, steps)
  const step = graph.node('ArgMin', [blanks], { axis: 1, keepdims: 1 }); // (batch, 1)
  const ones = graph.integers(new Int32Array(width).fill(1), [1, 1, width]);
  const places = graph.mul(graph.reshape(step, [-1, 1, 1]), ones); // (batch, 1, width)
  return graph.reshape(graph.node('GatherElements', [features, places], { axis: 1 }), [-1, width]);
}

/** The dense layers before the head, each with its ReLU. */
function writeHidden(graph: GraphWriter, features: string, layers: readonly FoldedLayer[]): string {
  if (layers.length === 1) return features;
  return graph.node('Relu', [writeDense(graph, features, layers.slice(0, -1))]);
}

const widthOf = ([first]: readonly FoldedLayer[]) => first.weights.length / first.bias.length;

async function exported(
  { config, network }: Specialist,
  settings: EnsembleFile,
  position: number,
  isHeadAlone: boolean,
): Promise<ExportedSpecialist> {
  const { temperature, weight, parameters = {} } = settings.specialists[position];
  const refuse = (what: string) =>
    new KdSpecError('option-invalid', `specialist ${config.id} ${what}, which has no form as a graph yet`);
  if (config.retrain === 'all') throw refuse('retrained its convolutions (--retrain all)');
  if ((config.retrain === 'head') !== isHeadAlone) throw refuse('retrained other layers than the others');
  if (config.head === 'full') throw refuse('has a full softmax (--specialist-head full)');
  const usesDustbin = fusionRule(settings.rule).usesDustbin(settings.parameters ?? {});
  if (config.dustbin.routed !== undefined && usesDustbin)
    throw refuse('has a dustbin correction that depends on the image (--routed-share)');
  const values: ReadonlyMap<string, HostTensor> = await networkValues(network);
  const layers = foldedDenseLayers(network.definition, values);
  return {
    classes: Int32Array.from(config.classes),
    layers: isHeadAlone ? layers.slice(-1) : layers,
    temperature,
    weight,
    massShift: parameterValue(massShift, parameters),
    correction: config.dustbin.correction,
  };
}

function routingOf(
  { routingTop, routingMass, routingMost }: EnsembleFile,
  specialists: readonly Specialist[],
  classes: number,
): { readonly top: number } | { readonly mass: number } {
  const covering = new Int32Array(classes);
  for (const { config } of specialists) for (const label of config.classes) covering[label]++;
  const most = covering.reduce((largest, count) => Math.max(largest, count), 0);
  const slots = typeof routingMass === 'number' ? Math.floor(most / routingMass) : routingTop * most;
  if (routingMost !== undefined && Math.min(slots, specialists.length) > routingMost) {
    throw new KdSpecError(
      'option-invalid',
      `up to ${slots} specialists may be queried for an image, and kd-spec takes the first ${routingMost}, which has no ` +
        'form as a graph yet: raise --routing-mass, or lower --routing-top',
    );
  }
  return typeof routingMass === 'number' ? { mass: routingMass } : { top: routingTop };
}

function valueInfo(name: string, shape: readonly (number | string)[]): ValueInfoProto {
  const dim = shape.map((extent) =>
    create(TensorShapeProto_DimensionSchema, {
      value:
        typeof extent === 'number'
          ? { case: 'dimValue', value: BigInt(extent) }
          : { case: 'dimParam', value: extent },
    }),
  );
  const value = create(TypeProto_TensorSchema, {
    elemType: TensorProto_DataType.FLOAT,
    shape: create(TensorShapeProtoSchema, { dim }),
  });
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, { value: { case: 'tensorType', value } }),
  });
}

/** Leaves out what was added and no output needs: a rule has no use for all tables. Nodes stand in the order they run. */
function removeUnused(graph: GraphProto): void {
  const needed = new Set(graph.output.map(({ name }) => name));
  const isKept = graph.node.toReversed().map((node) => {
    const isNeeded = node.output.some((name) => needed.has(name)) || !node.name.startsWith(ours);
    if (isNeeded) for (const name of node.input) needed.add(name);
    return isNeeded;
  });
  graph.node = graph.node.filter((_, position) => isKept[isKept.length - 1 - position]);
  graph.initializer = graph.initializer.filter(({ name }) => needed.has(name) || !name.startsWith(ours));
}

function checkSize({ initializer }: GraphProto): void {
  const size = initializer.reduce((sum, { rawData }) => sum + rawData.length, 0);
  if (size < mostBytes) return;
  throw new KdSpecError(
    'option-invalid',
    `the model would have ${(size / 2 ** 30).toFixed(1)} GB, and an ONNX file has at most 2: make fewer or smaller ` +
      'specialists',
  );
}
