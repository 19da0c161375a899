import type { NodeProto } from 'onnx-buf';
import { type ConstantTensor, constantOf, floatAttribute, integerAttribute } from './constants.js';
import {
  codedConstant,
  dequantised,
  isIntegerProduct,
  readIntegerProduct,
  withFloatFeatures,
} from './integer-products.js';
import {
  beforeDropouts,
  declaredExtents,
  endings,
  integersAttribute,
  invalid,
  nodeLabel,
  type OnnxModel,
  type OutputHolds,
  transparent,
} from './model-file.js';

/**
 * The last dense layer of a foreign classifier: what comes before it is its backbone.
 *
 * `logits = features weights + bias`, with everything folded in that the graph does between the product and its
 * output and that is linear: a bias, a scale, the quantisation of the weights.
 */
export interface OnnxHead {
  /** The output of the graph that was followed back. */
  readonly output: string;
  readonly outputHolds: OutputHolds;
  /**
   * The value that the product takes, (..., width); for a convolution (batch, width, 1, 1). Of one that a Dropout makes,
   * what that takes.
   */
  readonly features: string;
  readonly width: number;
  readonly classes: number;
  /** (width, classes) */
  readonly weights: Float32Array;
  /** (classes) */
  readonly bias: Float32Array;
  /** Whether the model predicts for several steps of an image: (batch, steps, classes). */
  readonly isSequence: boolean;
  /** The node that multiplies. */
  readonly product: NodeProto;
  /** The value that holds the logits with all that is folded in, before any softmax and change of shape. */
  readonly logits: string;
  /** Whether something between the product and that value changes its shape or its type. */
  readonly isReshaped: boolean;
  /** The operators from the output back to the product, for a person. */
  readonly path: readonly string[];
}

/** What a person may say about a head. */
export interface HeadHints {
  /** The name of a value to start from, instead of the graph's outputs. */
  readonly logits?: string | undefined;
  /** The name that the features are expected to have. */
  readonly features?: string | undefined;
}

/**
 * Finds the head of a classifier: walks back from each output over what changes no order of the classes, to a
 * product with a constant weight.
 *
 * @throws KdSpecError `checkpoint-invalid` when no output, or more than one product, qualifies; the message lists what
 * was found on the way and the flag that decides
 */
export async function findHead(model: OnnxModel, hints: HeadHints = {}): Promise<OnnxHead> {
  const starts = hints.logits === undefined ? model.graph.output.map(({ name }) => name) : [hints.logits];
  if (hints.logits !== undefined && !model.producers.has(hints.logits)) {
    throw invalid(model.path, `no value "${hints.logits}" (--logits) in the graph: ${someNames(model)}`);
  }
  const found: OnnxHead[] = [];
  const failures: string[] = [];
  for (const start of starts) {
    const walk = walkBack(model, start);
    if ('failure' in walk) failures.push(`from "${start}": ${walk.failure}`);
    else found.push(await readHead(model, start, walk));
  }
  const wanted = hints.features === undefined ? undefined : beforeDropouts(model, hints.features);
  const heads = found.filter(({ features }) => wanted === undefined || features === wanted);
  const [head] = heads;
  if (head === undefined) {
    const which =
      found.length > 0
        ? `the head takes ${quoted(found.map(({ features }) => features))}, not "${hints.features}" (--features)`
        : `expected a last layer that multiplies features by constant weights; ${failures.join('; ')}`;
    throw invalid(
      model.path,
      `${which}: ${whatHelps(model)}; or write predictions and features to a file and import those`,
    );
  }
  const others = heads.filter(
    ({ features, classes }) => features !== head.features || classes !== head.classes,
  );
  if (others.length > 0) {
    throw invalid(
      model.path,
      `several outputs are classifiers (${heads.map(({ output, classes }) => `"${output}" of ${classes} classes`).join(', ')}): ` +
        'say which with --logits NAME',
    );
  }
  return heads.find(({ outputHolds }) => outputHolds !== 'logits') ?? head;
}

/**
 * A model whose head takes numbers, where its features exist as integers alone: see {@link withFloatFeatures}.
 *
 * @param hints as for `findHead`
 */
export function withFeatures(model: OnnxModel, { logits }: HeadHints = {}): OnnxModel {
  const starts = logits === undefined ? model.graph.output.map(({ name }) => name) : [logits];
  let made = model;
  for (const start of starts) {
    const walk = walkBack(made, start);
    if (!('failure' in walk)) made = withFloatFeatures(made, walk.node);
  }
  return made;
}

/** A linear step after the product, met on the way back. */
interface Step {
  readonly kind: 'add' | 'subtract' | 'multiply' | 'divide';
  /** The name of a constant, one number or one a class; where it is stored as codes, their scale and zero point, too. */
  readonly by: readonly string[];
}

interface Walk extends Pick<OnnxHead, 'logits' | 'isReshaped'> {
  readonly node: NodeProto;
  /** In the order of the walk: the last one is applied first. */
  readonly steps: readonly Step[];
  readonly outputHolds: OutputHolds;
  readonly path: readonly string[];
}

const products: ReadonlySet<string> = new Set(['MatMul', 'Gemm', 'Conv', 'MatMulInteger']);
const isProduct = (opType: string) => products.has(opType) || isIntegerProduct(opType);
/** Of codes with codes: each operand is followed by its scale and zero point. */
const linearOfCodes: Readonly<Record<string, Step['kind']>> = { QLinearAdd: 'add', QLinearMul: 'multiply' };
const linear: Readonly<Record<string, Step['kind']>> = {
  Add: 'add',
  Sub: 'subtract',
  Mul: 'multiply',
  Div: 'divide',
};

function walkBack(model: OnnxModel, start: string): Walk | { readonly failure: string } {
  const path: string[] = [];
  const steps: Step[] = [];
  let outputHolds: OutputHolds = 'logits';
  let at = start;
  let logits: string | undefined;
  let isReshaped = false;
  const visited = new Set<string>();
  for (;;) {
    const node = model.producers.get(at);
    if (node === undefined) return { failure: `${chain(path)} ends at "${at}", which no node makes` };
    if (visited.has(at)) return { failure: 'the graph runs in a circle' };
    visited.add(at);
    path.push(node.opType);
    const { opType, input } = node;
    if (isProduct(opType)) return { node, steps, outputHolds, path, logits: logits ?? at, isReshaped };
    const ending = endings[opType];
    if (ending !== undefined && outputHolds === 'logits' && steps.length === 0) {
      outputHolds = ending;
      at = input[0];
    } else if (transparent.has(opType) || (opType === 'Transpose' && keepsLastAxis(node))) {
      const isOfIntegers = opType === 'Cast' && model.producers.get(input[0])?.opType === 'MatMulInteger';
      if (logits !== undefined && !isOfIntegers) isReshaped ||= !['Identity', 'Dropout'].includes(opType);
      at = input[0];
    } else if (linear[opType] !== undefined) {
      logits ??= at;
      const constantAt = [1, 0].find((position) => model.constants.has(input[position]));
      const isScaleOfIntegers = constantAt === undefined && opType === 'Mul';
      const next = isScaleOfIntegers
        ? input.find((name) => productOfIntegers(model, name) !== undefined)
        : constantAt === undefined
          ? undefined
          : input[1 - constantAt];
      const isTurned = constantAt === 0 && (opType === 'Div' || opType === 'Sub');
      if (next === undefined || isTurned)
        return { failure: `${chain(path)} mixes two values that depend on the image` };
      if (constantAt !== undefined) steps.push({ kind: linear[opType], by: [input[constantAt]] });
      at = next;
    } else if (linearOfCodes[opType] !== undefined) {
      logits ??= at;
      const constantAt = [3, 0].find((position) => model.constants.has(input[position]));
      if (constantAt === undefined)
        return { failure: `${chain(path)} mixes two values that depend on the image` };
      steps.push({ kind: linearOfCodes[opType], by: input.slice(constantAt, constantAt + 3) });
      at = input[3 - constantAt];
    } else {
      return { failure: `${chain(path)} is not linear in the features` };
    }
  }
}

function keepsLastAxis(node: NodeProto): boolean {
  const permutation = integersAttribute(node, 'perm');
  return permutation !== undefined && permutation.at(-1) === permutation.length - 1;
}

/** The product of integers that dynamic quantisation puts in place of a MatMul, behind its cast. */
function productOfIntegers(model: OnnxModel, name: string): NodeProto | undefined {
  const node = model.producers.get(name);
  if (node?.opType === 'MatMulInteger') return node;
  return node?.opType === 'Cast' ? productOfIntegers(model, node.input[0]) : undefined;
}

/** The product's own weights, bias and features, before the steps behind it. */
interface Product {
  readonly features: string;
  /** (width, classes) */
  readonly weights: ConstantTensor;
  readonly bias: ConstantTensor | undefined;
}

async function readHead(model: OnnxModel, output: string, walk: Walk): Promise<OnnxHead> {
  const { node, steps, outputHolds, path, logits, isReshaped } = walk;
  const { features: taken, weights, bias } = await readProduct(model, node);
  const features = beforeDropouts(model, taken);
  const [width, classes] = weights.shape;
  const head = {
    weights: Float32Array.from(weights.values),
    bias: new Float32Array(classes),
  };
  if (bias) apply(model, node, head, 'add', bias);
  for (const step of [...steps].reverse()) {
    const by = await codedConstant(model, step.by);
    if (by) apply(model, node, head, step.kind, by);
  }
  if (!head.weights.every(Number.isFinite) || !head.bias.every(Number.isFinite)) {
    throw invalid(model.path, `the weights of ${nodeLabel(node)} are not all finite: export the model again`);
  }
  return {
    output,
    outputHolds,
    features,
    width,
    classes,
    ...head,
    isSequence: isSequence(model, output),
    path,
    product: node,
    logits,
    isReshaped,
  };
}

/** Whether an output has three axes, as it is declared, and more than one step: (batch, steps, classes) or (steps, 1, classes). */
function isSequence(model: OnnxModel, output: string): boolean {
  const declared = [...model.graph.output, ...model.graph.valueInfo].find(({ name }) => name === output);
  const extents = declaredExtents(declared);
  return extents?.length === 3 && (extents[1] !== 1 || (extents[0] ?? 1) > 1);
}

/** Folds `y <- y (+ - * /) by` into a head. */
function apply(
  model: OnnxModel,
  node: NodeProto,
  { weights, bias }: { readonly weights: Float32Array; readonly bias: Float32Array },
  kind: Step['kind'],
  { values }: ConstantTensor,
): void {
  const classes = bias.length;
  if (values.length !== 1 && values.length !== classes) {
    throw invalid(
      model.path,
      `behind ${nodeLabel(node)} stands a constant of ${values.length} values for ${classes} classes: name the value ` +
        'before it with --logits',
    );
  }
  const by = (label: number) => values[values.length === 1 ? 0 : label];
  for (let c = 0; c < classes; c++) {
    if (kind === 'add') bias[c] += by(c);
    else if (kind === 'subtract') bias[c] -= by(c);
    else bias[c] *= kind === 'multiply' ? by(c) : 1 / by(c);
  }
  if (kind === 'add' || kind === 'subtract') return;
  for (let i = 0; i < weights.length; i++)
    weights[i] *= kind === 'multiply' ? by(i % classes) : 1 / by(i % classes);
}

async function readProduct(model: OnnxModel, node: NodeProto): Promise<Product> {
  const { opType, input } = node;
  const constant = async (name: string, what: string) => {
    const value = name === '' || name === undefined ? undefined : await constantOf(model, name);
    if (value) return value;
    throw invalid(
      model.path,
      `${nodeLabel(node)}: its ${what} are no constants, so it is no head: say --logits NAME`,
    );
  };
  const matrix = (value: ConstantTensor) => {
    if (value.shape.length === 2) return value;
    throw invalid(
      model.path,
      `${nodeLabel(node)}: expected weights (features, classes), found [${value.shape.join(', ')}]`,
    );
  };
  if (isIntegerProduct(opType)) return integerProduct(model, node, matrix);
  switch (opType) {
    case 'Gemm': {
      if (integerAttribute(node, 'transA', 0) !== 0)
        throw invalid(model.path, `${nodeLabel(node)} transposes its features`);
      const stored = matrix(await constant(input[1], 'weights'));
      const turned = integerAttribute(node, 'transB', 0) === 1 ? transposed(stored) : stored;
      const weights = scaled(turned, floatAttribute(node, 'alpha', 1));
      const bias = input[2]
        ? scaled(await constant(input[2], 'biases'), floatAttribute(node, 'beta', 1))
        : undefined;
      return { features: input[0], weights, bias };
    }
    case 'Conv': {
      const weights = transposed(ofOnePixel(model, node, await constant(input[1], 'weights')));
      return { features: input[0], weights, bias: input[2] ? await constant(input[2], 'biases') : undefined };
    }
    case 'MatMulInteger': {
      // DynamicQuantizeLinear(x) and (W - zero) are multiplied; the scale of W stands in a product with that of x.
      const weights = matrix(await constant(input[1], 'weights'));
      const zero = input[3] ? await constant(input[3], 'zero points') : undefined;
      const scale = await scaleOfIntegers(model, node);
      const quantiser = model.producers.get(input[0]);
      if (quantiser?.opType !== 'DynamicQuantizeLinear')
        throw invalid(
          model.path,
          `${nodeLabel(node)}: its features are integers that are made in another way than known`,
        );
      return {
        features: quantiser.input[0],
        weights: dequantised(weights, { scale: scale.values, zero: zero?.values }),
        bias: undefined,
      };
    }
    default:
      return { features: input[0], weights: matrix(await constant(input[1], 'weights')), bias: undefined };
  }
}

/** Of the weights of a dynamically quantised product: the constant in `Mul(cast(product), Mul(scale of x, scale))`. */
async function scaleOfIntegers(model: OnnxModel, node: NodeProto): Promise<ConstantTensor> {
  let [value] = node.output;
  for (;;) {
    const [next] = model.consumers.get(value) ?? [];
    if (next === undefined) break;
    if (next.opType === 'Mul') {
      const other = model.producers.get(next.input.find((name) => name !== value) ?? '');
      for (const name of other?.opType === 'Mul' ? other.input : []) {
        const scale = await constantOf(model, name);
        if (scale) return scale;
      }
      break;
    }
    if (next.opType !== 'Cast') break;
    [value] = next.output;
  }
  throw invalid(
    model.path,
    `${nodeLabel(node)}: found no scale of its quantised weights: use the float model`,
  );
}

/** A product of codes, which takes numbers where the model was made so: see {@link withFeatures}. */
async function integerProduct(
  model: OnnxModel,
  node: NodeProto,
  matrix: (value: ConstantTensor) => ConstantTensor,
): Promise<Product> {
  const { features, weights, bias } = await readIntegerProduct(model, node);
  if (features === undefined)
    throw invalid(
      model.path,
      `${nodeLabel(node)}: its features exist as integers alone: import the model again`,
    );
  if (node.opType === 'QLinearConv')
    return { features, weights: transposed(ofOnePixel(model, node, weights)), bias };
  if (integerAttribute(node, 'transA', 0) !== 0)
    throw invalid(model.path, `${nodeLabel(node)} transposes its features`);
  const stored = matrix(weights);
  return { features, weights: integerAttribute(node, 'transB', 0) === 1 ? transposed(stored) : stored, bias };
}

/** The weights of a convolution, (classes, width), if it looks at one pixel. */
function ofOnePixel(model: OnnxModel, node: NodeProto, kernel: ConstantTensor): ConstantTensor {
  const [outputs, inputs, ...window] = kernel.shape;
  if (window.some((extent) => extent !== 1) || integerAttribute(node, 'group', 1) !== 1) {
    throw invalid(
      model.path,
      `${nodeLabel(node)} looks at more than one pixel, so it is no head: say --logits NAME`,
    );
  }
  return { shape: [outputs, inputs], values: kernel.values };
}

function transposed({ shape: [rows, columns], values }: ConstantTensor): ConstantTensor {
  const out = new Float64Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      out[column * rows + row] = values[row * columns + column];
  return { shape: [columns, rows], values: out };
}

function scaled(constant: ConstantTensor, factor: number): ConstantTensor {
  return factor === 1 ? constant : { ...constant, values: constant.values.map((value) => value * factor) };
}

const chain = (path: readonly string[]) => path.slice(0, 6).join(' <- ') + (path.length > 6 ? ' <- ...' : '');
const quoted = (names: readonly string[]) => [...new Set(names)].map((name) => `"${name}"`).join(', ');

/** Products of codes that are not read. */
const quantised = /^(ConvInteger|MatMulNBits|MatMulBnb4)$/;

/** What a person can do about a model without a head that was found. */
function whatHelps(model: OnnxModel): string {
  const last = model.graph.node.slice(-12);
  const integers = last.find(({ opType }) => quantised.test(opType));
  if (integers) {
    return (
      `the model is quantised in a form that is not read (${integers.opType}): give the model before its quantisation, ` +
      'or quantise that with quant_format=QuantFormat.QDQ'
    );
  }
  const inside = last.find(({ opType, domain }) =>
    model.proto.functions.some((own) => own.name === opType && own.domain === domain),
  );
  if (inside) {
    return (
      `part of it is a function of the model's own (${inside.opType}), which is not looked into: write it out with ` +
      'onnx.inliner.inline_local_functions(model)'
    );
  }
  return `name the value with the logits (--logits NAME); ${someNames(model)}`;
}

/** The last values of the graph that may be logits, for an error message. */
function someNames(model: OnnxModel): string {
  const candidates = model.graph.node
    .filter(({ opType }) => isProduct(opType) || opType === 'Add')
    .slice(-5)
    .flatMap(({ output }) => output);
  return candidates.length === 0
    ? 'the graph has no product'
    : `the last products and sums are ${quoted(candidates)}`;
}
