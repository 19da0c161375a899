import type { NodeProto } from 'onnx-buf';
import type { ConstantTensor } from './constants.js';
import { readProduct } from './dense-product.js';
import { codedConstant, isIntegerProduct, withFloatFeatures } from './integer-products.js';
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
import { isPool, keepsAxes, meanAsText, meanFeatures, poolProblem, withMeanFeatures } from './pooled-head.js';

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
  const { walks, failures } = await walksBack(model, starts);
  const found: OnnxHead[] = [];
  for (const { start, walk } of walks) {
    const head = await readHead(model, start, walk);
    if ('failure' in head) failures.push({ start, ...head });
    else found.push(head);
  }
  const wanted = hints.features === undefined ? undefined : beforeDropouts(model, hints.features);
  const heads = found.filter(({ features }) => wanted === undefined || features === wanted);
  const [head] = heads;
  if (head === undefined) {
    const which =
      found.length > 0
        ? `the head takes ${quoted(found.map(({ features }) => features))}, not "${hints.features}" (--features)`
        : 'expected a last layer that multiplies features by constant weights; ' +
          failures.map(({ start, failure }) => `from "${start}": ${failure}`).join('; ');
    const isFinal = found.length === 0 && failures.every(({ isFinal }) => isFinal === true);
    throw invalid(model.path, `${which}: ${isFinal ? '' : `${whatHelps(model)}; or `}${asTables}`);
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
 * A model in which the features of its head exist as a value: where they are integers alone, see
 * {@link withFloatFeatures}; where the head is applied at every place of an image, see {@link withMeanFeatures}.
 *
 * @param hints as for `findHead`
 */
export async function withFeatures(model: OnnxModel, { logits }: HeadHints = {}): Promise<OnnxModel> {
  const starts = logits === undefined ? model.graph.output.map(({ name }) => name) : [logits];
  let made = model;
  const { walks } = await walksBack(model, starts);
  for (const { walk } of walks) {
    for (const { node, pool } of productsOf(walk))
      made = pool ? withMeanFeatures(made, pool, node) : withFloatFeatures(made, node);
  }
  return made;
}

/** Operators that pass on which classes are likely, or name the likeliest. */
const passing: ReadonlySet<string> = new Set([
  ...[...transparent, ...Object.keys(endings), 'Transpose', 'Shape', 'Slice', 'Gather', 'Clip'],
  ...['ArgMax', 'TopK', 'ReduceMax', 'ReduceSum', 'Exp', 'Log', 'ArrayFeatureExtractor', 'ZipMap'],
]);

/**
 * What stands between a value and the outputs that are made of it, and is none of the operators that leave the order of
 * classes as it is or tell the first of them.
 *
 * @returns the outputs behind such operators, with these
 */
export function operatorsBehind(
  model: OnnxModel,
  logits: string,
): readonly { readonly output: string; readonly operators: readonly string[] }[] {
  const made = new Set([logits]);
  const later = new Set<NodeProto>();
  for (const name of made) {
    for (const node of model.consumers.get(name) ?? []) {
      later.add(node);
      for (const output of node.output) if (output !== '') made.add(output);
    }
  }
  const isKnown = ({ opType, input }: NodeProto) =>
    passing.has(opType) ||
    ((linear[opType] !== undefined || opType === 'Concat') &&
      input.every((name) => model.constants.has(name) || made.has(name)));
  return model.graph.output
    .filter(({ name }) => name !== logits && made.has(name))
    .map(({ name: output }) => {
      const needed = new Set([output]);
      const operators = new Set<string>();
      for (const name of needed) {
        const node = model.producers.get(name);
        if (node === undefined || !later.has(node)) continue;
        if (!isKnown(node)) operators.add(node.opType);
        for (const input of node.input) if (made.has(input) && input !== logits) needed.add(input);
      }
      return { output, operators: [...operators] };
    })
    .filter(({ operators }) => operators.length > 0);
}

/** A linear step after the product, met on the way back. */
interface Step {
  readonly kind: 'add' | 'subtract' | 'multiply' | 'divide';
  /** The name of a constant, one number or one a class; where it is stored as codes, their scale and zero point, too. */
  readonly by: readonly string[];
}

interface Walk extends Pick<OnnxHead, 'logits' | 'isReshaped'> {
  readonly node: NodeProto;
  /** The mean over all places at which it multiplies: see {@link withMeanFeatures}. */
  readonly pool: NodeProto | undefined;
  /** Products of the same features that are summed, each times a factor; none: there is one. */
  readonly terms?: readonly { readonly walk: Walk; readonly factor: number }[];
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

/** Why a walk found no head. */
interface Failure {
  readonly failure: string;
  /** Whether no other value of the graph can help. */
  readonly isFinal?: boolean;
}

/** The walks that end at a head; one of several products counts only where no other does: it may be an embedding. */
async function walksBack(model: OnnxModel, starts: readonly string[]) {
  const plain: { readonly start: string; readonly walk: Walk }[] = [];
  const composed: typeof plain = [];
  const failures: (Failure & { readonly start: string })[] = [];
  for (const start of starts) {
    const walk = await walkBack(model, start);
    if ('failure' in walk) failures.push({ start, ...walk });
    else (walk.pool || walk.terms ? composed : plain).push({ start, walk });
  }
  return { walks: plain.length > 0 ? plain : composed, failures };
}

/** Terms of sums that are looked at; a graph that adds each value to itself has two to the power of its depth. */
const mostTerms = 256;

/** How a walk came to where it begins. */
interface Way {
  /** The values that were passed: none of them is made of itself. */
  readonly passed: ReadonlySet<string>;
  /** How many more terms of sums may be looked at, of all sums together. */
  readonly terms: { left: number };
}

async function walkBack(
  model: OnnxModel,
  start: string,
  { passed, terms: open }: Way = { passed: new Set(), terms: { left: mostTerms } },
): Promise<Walk | Failure> {
  const path: string[] = [];
  const steps: Step[] = [];
  let outputHolds: OutputHolds = 'logits';
  let at = start;
  let logits: string | undefined;
  let isReshaped = false;
  let pool: NodeProto | undefined;
  let behindPool = 0; // of the steps
  const visited = new Set(passed);
  for (;;) {
    const node = model.producers.get(at);
    if (node === undefined) return { failure: `${chain(path)} ends at "${at}", which no node makes` };
    if (visited.has(at)) return { failure: 'the graph runs in a circle' };
    visited.add(at);
    path.push(node.opType);
    const { opType, input } = node;
    if (isProduct(opType)) {
      const constants = steps.slice(behindPool).map(({ by: [name] }) => name);
      const problem = pool && (await poolProblem(model, pool, node, constants));
      if (problem !== undefined) return { failure: `${chain(path)}: ${problem}` };
      return { node, pool, steps, outputHolds, path, logits: logits ?? at, isReshaped };
    }
    const ending = endings[opType];
    if (ending !== undefined && outputHolds === 'logits' && steps.length === 0 && pool === undefined) {
      outputHolds = ending;
      at = input[0];
    } else if (transparent.has(opType) || (opType === 'Transpose' && keepsLastAxis(node))) {
      const isSame = opType === 'Identity' || opType === 'Dropout';
      if (pool !== undefined && !isSame && opType !== 'Cast')
        return { failure: `${chain(path)} changes the shape or the codes of what is averaged` };
      const isOfIntegers = opType === 'Cast' && model.producers.get(input[0])?.opType === 'MatMulInteger';
      if (logits !== undefined && !isOfIntegers) isReshaped ||= !isSame;
      at = input[0];
    } else if (isPool(node) && pool === undefined) {
      logits ??= at;
      isReshaped ||= !keepsAxes(node);
      pool = node;
      behindPool = steps.length;
      at = input[0];
    } else if (linear[opType] !== undefined || opType === 'Sum' || opType === 'Mean') {
      logits ??= at;
      const constants = input.filter((name) => model.constants.has(name));
      const others = input.filter((name) => !model.constants.has(name));
      let [next] = others;
      if (others.length === 0) return { failure: `${chain(path)} is the same for every image` };
      if (others.length > 1) {
        const way: Way = { passed: visited, terms: open };
        const terms = pool === undefined ? await termsOf(model, node, way) : undefined;
        if (terms) {
          const [{ walk }] = terms;
          isReshaped ||= terms.some((term) => term.walk.isReshaped);
          path.push(...walk.path);
          return { ...walk, terms, steps, outputHolds, path, logits, isReshaped };
        }
        const product =
          opType === 'Mul' ? others.find((name) => productOfIntegers(model, name) !== undefined) : undefined;
        if (product === undefined)
          return { failure: `${chain(path)} mixes two values that depend on the image` };
        next = product;
      }
      const isTurned = (opType === 'Div' || opType === 'Sub') && next === input[1];
      if (isTurned || (opType === 'Mean' && constants.length > 0))
        return { failure: `${chain(path)}: a ${opType} of a constant and a value is not read in this form` };
      steps.push(...constants.map((name) => ({ kind: linear[opType] ?? 'add', by: [name] })));
      at = next;
    } else if (linearOfCodes[opType] !== undefined) {
      logits ??= at;
      const constantAt = [3, 0].find((position) => model.constants.has(input[position]));
      if (constantAt === undefined)
        return { failure: `${chain(path)} mixes two values that depend on the image` };
      steps.push({ kind: linearOfCodes[opType], by: input.slice(constantAt, constantAt + 3) });
      at = input[3 - constantAt];
    } else if (pool !== undefined && hasProductOfPlaces(model, input[0])) {
      return {
        failure:
          `${chain(path)} is not linear in the features: the ${opType} stands between the product of each place and the ` +
          'mean of the places, so that the logits are made of no features of the whole image',
        isFinal: true,
      };
    } else {
      return { failure: `${chain(path)} is not linear in the features` };
    }
  }
}

/** The terms of a sum, if each is a product of the same features with constant weights. */
async function termsOf(model: OnnxModel, { opType, input }: NodeProto, way: Way): Promise<Walk['terms']> {
  if (opType === 'Mul' || opType === 'Div') return undefined;
  const terms: { readonly walk: Walk; readonly factor: number }[] = [];
  for (const [at, name] of input.entries()) {
    const walk = way.terms.left-- > 0 ? await walkBack(model, name, way) : undefined;
    if (walk === undefined || 'failure' in walk || walk.outputHolds !== 'logits') return undefined;
    const own = opType === 'Mean' ? 1 / input.length : opType === 'Sub' && at === 1 ? -1 : 1;
    terms.push({ walk, factor: own });
  }
  const takes = ({ node, pool }: Walk) => {
    if (!['MatMul', 'Gemm', 'Conv'].includes(node.opType) || !model.constants.has(node.input[1])) return '';
    return pool ? meanAsText(model, pool, node) : beforeDropouts(model, node.input[0]);
  };
  const [features, ...others] = new Set(terms.flatMap(({ walk }) => productsOf(walk)).map(takes));
  return others.length === 0 && features !== '' ? terms : undefined;
}

/** A walk to one product, or those of each term of a sum. */
const productsOf = (walk: Walk): readonly Walk[] =>
  walk.terms?.flatMap((term) => productsOf(term.walk)) ?? [walk];

/** Whether a value is made of a convolution of one pixel, by operators of one value at a time. */
function hasProductOfPlaces(model: OnnxModel, name: string | undefined): boolean {
  let at = name ?? '';
  for (let step = 0; step < 8; step++) {
    const node = model.producers.get(at);
    if (node?.opType === 'Conv')
      return (
        model.initializers
          .get(node.input[1])
          ?.dims.slice(2)
          .every((extent) => extent === 1n) === true
      );
    if (node === undefined || !/^(Identity|Dropout|Cast|Add|BatchNormalization)$/.test(node.opType))
      return false;
    [at] = node.input;
  }
  return false;
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

async function readHead(model: OnnxModel, output: string, walk: Walk): Promise<OnnxHead | Failure> {
  const { node, outputHolds, path, logits, isReshaped } = walk;
  const head = await readTerms(model, walk);
  if ('failure' in head) return head;
  if (!head.weights.every(Number.isFinite) || !head.bias.every(Number.isFinite)) {
    throw invalid(model.path, `the weights of ${nodeLabel(node)} are not all finite: export the model again`);
  }
  return {
    output,
    outputHolds,
    ...head,
    isSequence: isSequence(model, output),
    path,
    product: node,
    logits,
    isReshaped,
  };
}

/** What a walk passed as one dense layer. */
async function readTerms(
  model: OnnxModel,
  walk: Walk,
): Promise<Pick<OnnxHead, 'features' | 'width' | 'classes' | 'weights' | 'bias'> | Failure> {
  const { node, steps } = walk;
  const [first, ...others] = walk.terms ?? [];
  const head = first ? await readTerms(model, first.walk) : await readOne(model, walk);
  if ('failure' in head) return head;
  if (first && first.factor !== 1)
    for (const values of [head.weights, head.bias])
      for (const [i, value] of values.entries()) values[i] = first.factor * value;
  for (const { walk: other, factor } of others) {
    const term = await readTerms(model, other);
    if ('failure' in term) return term;
    const { weights, bias, classes } = term;
    if (classes !== head.classes)
      return {
        failure: `${nodeLabel(node)} of ${head.classes} classes is added to ${nodeLabel(other.node)} of ${classes}`,
      };
    for (const [i, value] of weights.entries()) head.weights[i] += factor * value;
    for (const [c, value] of bias.entries()) head.bias[c] += factor * value;
  }
  for (const step of [...steps].reverse()) {
    const by = await codedConstant(model, step.by);
    if (by) apply(model, node, head, step.kind, by);
  }
  return head;
}

async function readOne(model: OnnxModel, { node, pool }: Walk) {
  const { features: taken, weights, bias } = await readProduct(model, node);
  const features = pool ? meanFeatures(model, pool, node) : beforeDropouts(model, taken);
  if (features === undefined)
    throw invalid(
      model.path,
      `the mean of what ${nodeLabel(node)} takes is no value: import the model again`,
    );
  const [width, classes] = weights.shape;
  const head = {
    features,
    width,
    classes,
    weights: Float32Array.from(weights.values),
    bias: new Float32Array(classes),
  };
  if (bias) apply(model, node, head, 'add', bias);
  return head;
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

const chain = (path: readonly string[]) => path.slice(0, 6).join(' <- ') + (path.length > 6 ? ' <- ...' : '');
const quoted = (names: readonly string[]) => [...new Set(names)].map((name) => `"${name}"`).join(', ');

const asTables =
  'store what it computes, features and logits of each example, and give these (kd-spec run --source features.npz)';

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
  const ofTables = last.find(({ opType }) => /(Classifier|Ensemble)$/.test(opType));
  if (ofTables) return `a ${ofTables.opType} is not read: use a model of products of matrices`;
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
