import { type GraphProto, type NodeProto, TensorProto_DataType } from 'onnx-buf';
import { copyOf, type GraphWriter, neededBy } from '../../models/onnx/graph-writer.js';
import {
  beforeDropouts,
  beforeShapes,
  endings,
  type OnnxModel,
  outputHolds,
  shapeOperators,
} from '../../models/onnx/model-file.js';
import type { OnnxBackboneDescription } from '../../models/onnx/onnx-backbone.js';

// What is written into somebody else's graph before the fusion, and after it where its own output is replaced.

/** Values of an imported graph that the fusion starts from; a row is an image, or a step of one. */
export interface ImportedValues {
  /** (rows, width) */
  readonly features: string;
  /** (rows, classes), where the model's own logits can be taken: without the blank. */
  readonly logits: string | undefined;
  /** (rows, classes): of each image its row; the rows as they are where a row is an image. */
  pick(rows: string, columns: number): string;
}

/**
 * Features and logits of an imported model. Of a sequence recogniser either of the least blank step of each image, or,
 * with `everyStep`, of all of them.
 */
export function writeImported(
  graph: GraphWriter,
  model: OnnxModel,
  { features, output, blank, width, input }: OnnxBackboneDescription,
  { classes, everyStep }: { readonly classes: number; readonly everyStep: boolean },
): ImportedValues {
  const logits = floatLogits(model, output);
  const isInRows = blank === null || everyStep;
  const wide = graph.castTo(isInRows ? beforeShapes(model, features) : features, 'float32');
  if (blank === null) {
    return {
      features: graph.reshape(wide, [-1, width]),
      logits: logits && graph.reshape(logits, [-1, classes]),
      pick: (rows) => rows,
    };
  }
  // A model of one image may have the batch behind the steps, or folded into them.
  const isOne = input.batch === 1;
  const inSteps = (x: string, columns: number) => (isOne ? graph.reshape(x, [1, -1, columns]) : x);
  const blanks = graph.gather(inSteps(output, classes + 1), graph.integers([blank], []), 2); // (batch, steps)
  const step = graph.reshape(graph.node('ArgMin', [blanks], { axis: 1, keepdims: 1 }), [-1, 1]);
  /** @param steps (batch, steps, columns) */
  const atStep = (steps: string, columns: number) => {
    if (graph.opset >= 12) return graph.node('GatherND', [steps, step], { batch_dims: 1 }); // (batch, columns)
    const ones = graph.integers(new Int32Array(columns).fill(1), [1, 1, columns]);
    const places = graph.mul(graph.reshape(step, [-1, 1, 1]), ones); // (batch, 1, columns)
    return graph.reshape(graph.node('GatherElements', [steps, places], { axis: 1 }), [-1, columns]);
  };
  const withBlank = (x: string) => graph.reshape(x, [isOne ? 1 : 0, -1, classes + 1]);
  if (!everyStep) {
    return {
      features: atStep(inSteps(wide, width), width),
      logits: logits && withoutColumn(graph, atStep(withBlank(logits), classes + 1), { blank, classes }),
      pick: (rows) => rows,
    };
  }
  // The steps of an image as the model's output has them, whatever their number.
  const shape = graph.node('Shape', [output]);
  const outer = graph.slice(shape, 0, 0, 2);
  return {
    features: graph.reshape(wide, [-1, width]),
    logits: logits && withoutColumn(graph, graph.reshape(logits, [-1, classes + 1]), { blank, classes }),
    pick: (rows, columns) => {
      const extents = graph.concat([outer, graph.integers([columns], [1])], 0);
      return atStep(inSteps(graph.node('Reshape', [rows, extents]), columns), columns);
    },
  };
}

/** (rows, classes) of (rows, classes + 1): every column but that of the blank. */
function withoutColumn(
  graph: GraphWriter,
  x: string,
  { blank, classes }: { readonly blank: number; readonly classes: number },
): string {
  const parts = [
    ...(blank > 0 ? [graph.slice(x, 1, 0, blank)] : []),
    ...(blank < classes ? [graph.slice(x, 1, blank + 1, classes + 1)] : []),
  ];
  return parts.length === 1 ? parts[0] : graph.concat(parts, 1);
}

/** Linear ones; of those of several products of the same features, that which the import has understood. */
const sums: ReadonlySet<string> = new Set([
  ...['Add', 'Sub', 'Mul', 'Div', 'Sum', 'Mean'],
  ...['GlobalAveragePool', 'AveragePool', 'ReduceMean'],
]);

/**
 * The value with a model's own logits, so that the head is neither stored nor computed twice: what its softmax takes,
 * or its output. Only of a head in single precision: one in 8 or 16 bits rounds otherwise than the imported head.
 */
function floatLogits(model: OnnxModel, output: string): string | undefined {
  let at = output;
  let logits: string | undefined;
  for (;;) {
    const node = model.producers.get(at);
    if (node === undefined) return undefined;
    const { opType, input } = node;
    if (['MatMul', 'Gemm', 'Conv'].includes(opType))
      return isSingle(model, input[1]) && isSingle(model, input[0]) ? (logits ?? at) : undefined;
    if (endings[opType] !== undefined) {
      if (logits !== undefined) return undefined;
      [at] = input;
      logits = beforeDropouts(model, at); // what trains, if it does so by accident, is read nowhere
    } else if (shapeOperators.has(opType)) [at] = input;
    else if (sums.has(opType)) {
      logits ??= at;
      const next = input.find((name) => !model.constants.has(name));
      if (next === undefined) return undefined;
      at = next;
    } else return undefined;
  }
}

function isSingle(model: OnnxModel, name: string): boolean {
  const stored = model.initializers.get(name);
  if (stored) return stored.dataType === TensorProto_DataType.FLOAT;
  const made = model.producers.get(name)?.opType ?? '';
  return made !== 'DequantizeLinear' && made !== 'Cast';
}

/**
 * Puts the fused distribution where a model's own output was, in the form in which that was.
 *
 * Of a sequence recogniser it is fused at every step: the blank keeps its probability, and what it leaves is divided
 * among the characters as the fusion has it, so that a program that decodes the steps goes on as before.
 *
 * @param own the value that was the output, which holds a distribution or its logits
 * @param fused (rows, classes), of every step
 * @returns the value of the new output
 */
export function writeReplacement(
  graph: GraphWriter,
  model: OnnxModel,
  own: string,
  fused: string,
  { blank, classes }: { readonly blank: number | null; readonly classes: number },
): string {
  const holds = outputHolds(model, own);
  let rows = fused;
  if (blank !== null) {
    const flat = graph.reshape(graph.castTo(own, 'float32'), [-1, classes + 1]);
    const all =
      holds === 'probabilities'
        ? flat
        : holds === 'log-probabilities'
          ? graph.node('Exp', [flat])
          : graph.softmax(flat, 2);
    const ofBlank = graph.slice(all, 1, blank, blank + 1); // (rows, 1)
    const named = graph.mul(fused, graph.sub(graph.scalar(1), ofBlank));
    rows = graph.concat(
      [
        ...(blank > 0 ? [graph.slice(named, 1, 0, blank)] : []),
        ofBlank,
        ...(blank < classes ? [graph.slice(named, 1, blank, classes)] : []),
      ],
      1,
    );
  }
  if (holds !== 'probabilities') rows = graph.node('Log', [graph.node('Max', [rows, graph.scalar(1e-37)])]);
  return graph.node('Reshape', [rows, graph.node('Shape', [own])]);
}

/**
 * Gives an input another name where it is used, in branches and loops too, so that its name stands for something that is
 * made into it.
 */
export function renameInput(graph: Pick<GraphProto, 'node'>, from: string, to: string): string {
  graph.node = graph.node.map((node) => {
    if (!neededBy(node).includes(from)) return node;
    const copy = copyOf(node, { input: node.input.map((name) => (name === from ? to : name)) });
    for (const { g, graphs } of copy.attribute)
      for (const body of g ? [g, ...graphs] : graphs) renameInput(body, from, to);
    return copy;
  });
  return to;
}

/** Brings nodes into an order in which each stands behind those that it needs; of several, that in which they came. */
export function sortNodes(graph: GraphProto): void {
  const maker = new Map(graph.node.flatMap((node) => node.output.map((name) => [name, node] as const)));
  const sorted = new Set<NodeProto>();
  for (const last of graph.node) {
    const stack = [last];
    while (stack.length > 0) {
      const node = stack[stack.length - 1];
      const missing = neededBy(node)
        .map((name) => maker.get(name))
        .find((one) => one && one !== node && !sorted.has(one));
      if (missing) stack.push(missing);
      else {
        sorted.add(node);
        stack.pop();
      }
    }
  }
  graph.node = [...sorted];
}
