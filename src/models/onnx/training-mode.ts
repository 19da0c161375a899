import { create } from '@bufbuild/protobuf';
import {
  type FunctionProto,
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import { constantOf, integerAttribute } from './constants.js';
import { neededBy } from './graph-writer.js';
import { decodedModel, invalid, nodeLabel, type OnnxModel, randomOperators } from './model-file.js';

const advice = 'export it again after model.eval() (PyTorch), or for inference';

/**
 * Makes sure that what a model predicts for an image depends on nothing but the image: no layer that an output needs
 * trains.
 *
 * A Dropout that is told to train (from operator set 12 on by an input) is no layer at all where ONNX Runtime leaves it
 * out when it opens the file: a node makes what it takes, nothing takes its mask, and it is no output of the model. There
 * the model predicts without it, and so does everything here. Anywhere else it draws random numbers.
 *
 * @param outputs the values that are wanted; what they do not need is not looked at
 * @returns a sentence for each thing that was taken otherwise than the file has it
 * @throws KdSpecError `checkpoint-invalid` for a normalisation by the batch, and for random numbers
 */
export async function expectInference(
  model: OnnxModel,
  outputs: readonly string[],
): Promise<readonly string[]> {
  const leftOut: string[] = [];
  for (const [node, bodies] of neededNodes(model, outputs)) {
    const { opType } = node;
    if (opType === 'BatchNormalization' && normalisesByBatch(node, model.opset)) {
      throw invalid(
        model.path,
        `${nodeLabel(node)} is in training mode: it normalises by the images that run together, so that the prediction of ` +
          `an image depends on the others: ${advice}`,
      );
    }
    if (randomOperators.test(opType)) {
      throw invalid(
        model.path,
        `${nodeLabel(node)} draws random numbers, on which its predictions depend: ${advice}`,
      );
    }
    if (opType !== 'Dropout') continue;
    const mode = await modeOf([...bodies, model], node);
    if (mode === 'inference') continue;
    if (mode === 'unknown') {
      throw invalid(
        model.path,
        `${nodeLabel(node)} is in training mode or not as "${node.input[2]}" says, whose value is not told before the model runs: ${advice}`,
      );
    }
    if (bodies.length > 0) {
      throw invalid(
        model.path,
        `${nodeLabel(node)} is in training mode within a branch or a function, where it is not known whether ONNX Runtime ` +
          `leaves it out: ${advice}`,
      );
    }
    if (!isLeftOut(model, node)) {
      throw invalid(
        model.path,
        `${nodeLabel(node)} is in training mode, where it sets random values to 0, and ONNX Runtime does not leave it out ` +
          `(it takes an input of the model, or makes an output of it, or its mask is used): ${advice}`,
      );
    }
    leftOut.push(nodeLabel(node));
  }
  if (leftOut.length === 0) return [];
  return [
    `${leftOut.join(', ')}: in training mode, and taken as none, as ONNX Runtime does with its default options; without ` +
      `its optimiser the model predicts at random: ${advice}`,
  ];
}

/**
 * The nodes that some values need, those in branches, loops and the model's own functions included.
 *
 * @returns of each the bodies that it stands in, each as a model, from the innermost on: a name means what it does in the
 * first of them that has it
 */
function neededNodes(
  model: OnnxModel,
  outputs: readonly string[],
): ReadonlyMap<NodeProto, readonly OnnxModel[]> {
  const nodes = new Map<NodeProto, readonly OnnxModel[]>();
  const add = (names: readonly string[]) => {
    for (const name of names) {
      const made = model.producers.get(name);
      if (made) nodes.set(made, []);
    }
  };
  const addBody = (graph: GraphProto, around: readonly OnnxModel[]) => {
    if (graph.node.length === 0 || graph.output.length === 0) return;
    const body = decodedModel(model.path, create(ModelProtoSchema, { ...model.proto, graph }), model.bytes);
    for (const inner of graph.node) if (!nodes.has(inner)) nodes.set(inner, [body, ...around]);
  };
  add(outputs);
  // A map is gone through in the order in which it grows.
  for (const [node, bodies] of nodes) {
    if (bodies.length === 0) add(neededBy(node)); // what a branch takes from around it included
    for (const { g, graphs } of node.attribute)
      for (const body of g ? [g, ...graphs] : graphs) addBody(body, bodies);
    const own = model.proto.functions.find(
      ({ name, domain }) => name === node.opType && domain === node.domain && domain !== '',
    );
    if (own) addBody(bodyOf(own), []);
  }
  return nodes;
}

/** What a function computes, as a graph: its names are its own. */
function bodyOf({ node, input, output }: FunctionProto): GraphProto {
  const named = (names: readonly string[]) => names.map((name) => create(ValueInfoProtoSchema, { name }));
  return create(GraphProtoSchema, { node, input: named(input), output: named(output) });
}

/** Whether a BatchNormalization trains: before operator set 14, where it makes more than one value. */
function normalisesByBatch(node: NodeProto, opset: number): boolean {
  if (opset >= 14) return integerAttribute(node, 'training_mode', 0) !== 0;
  return node.output.filter((name) => name !== '').length > 1;
}

/**
 * Whether a Dropout trains.
 *
 * @param scopes the graphs whose values it may take, from the innermost on
 */
async function modeOf(
  scopes: readonly OnnxModel[],
  { input }: NodeProto,
): Promise<'inference' | 'training' | 'unknown'> {
  const name = input[2];
  if (name === undefined || name === '') return 'inference';
  const scope = scopes.find(
    ({ graph, producers, initializers }) =>
      producers.has(name) || initializers.has(name) || graph.input.some((one) => one.name === name),
  );
  // A function's constant may be an attribute of the node that calls it.
  const isGiven = scope?.producers.get(name)?.attribute.some(({ refAttrName }) => refAttrName !== '');
  const mode = isGiven ? undefined : scope && (await constantOf(scope, name));
  if (mode === undefined) return 'unknown';
  return mode.values[0] === 0 ? 'inference' : 'training';
}

/** Whether ONNX Runtime leaves a Dropout out that trains. */
function isLeftOut(model: OnnxModel, { input, output: [value, mask] }: NodeProto): boolean {
  const isOutput = (name: string) => model.graph.output.some((output) => output.name === name);
  const isUsed = (name: string) =>
    isOutput(name) || model.graph.node.some((node) => neededBy(node).includes(name));
  return model.producers.has(input[0]) && !isOutput(value) && (!mask || !isUsed(mask));
}
