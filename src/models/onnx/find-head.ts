import type { NodeProto } from 'onnx-buf';
import type { ConstantTensor } from './constants.js';
import { readProduct } from './dense-product.js';
import { codedConstant, withFloatFeatures } from './integer-products.js';
import {
  beforeDropouts,
  declaredExtents,
  invalid,
  nodeLabel,
  type OnnxModel,
  type OutputHolds,
} from './model-file.js';
import { meanFeatures, withMeanFeatures } from './pooled-head.js';
import { type Failure, isProduct, productsOf, type Step, type Walk, walksBack } from './walk-back.js';

/**
 * The last dense layer of a foreign classifier: what comes before it is its backbone.
 *
 * `logits = features weights + bias`, with everything folded in that the graph does between the product and its
 * output and that is linear: a bias, a scale, the quantisation of the weights.
 */
export interface OnnxHead extends Pick<Walk, 'logits' | 'isReshaped'> {
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
  /** The operators from the output back to the product, for a person. */
  readonly path: readonly string[];
}

/** The head of a model with several outputs. */
export interface FoundHead extends OnnxHead {
  /** Outputs that were not taken, and are made of several products or of their mean: an embedding, say. */
  readonly aside: readonly string[];
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
 * product with a constant weight. Outputs that differ by no more than a factor and an offset that all classes share, as
 * logits and their softmax do, are one head.
 *
 * @throws KdSpecError `checkpoint-invalid` when no output qualifies, or outputs are heads of other weights; the message
 * lists what was found on the way and the flag that decides
 */
export async function findHead(model: OnnxModel, hints: HeadHints = {}): Promise<FoundHead> {
  const { heads, areOne, aside } = await headsOf(model, hints);
  if (!areOne) {
    const found = [
      ...heads.map(({ output, classes }) => `"${output}" of ${classes} classes`),
      ...aside.map(({ output, classes }) =>
        classes === undefined ? `"${output}" of several products` : `"${output}" of ${classes} classes`,
      ),
    ];
    throw invalid(
      model.path,
      `several outputs are classifiers, each with a last layer of its own (${found.join(', ')}): say which with --logits NAME`,
    );
  }
  return { ...mostLikely(heads), aside: aside.map(({ output }) => output) };
}

/** Of the heads of a model that which is most likely meant: one with a softmax behind it, else the first. */
export const mostLikely = <Head extends Pick<OnnxHead, 'outputHolds'>>(
  heads: readonly [Head, ...Head[]],
): Head => heads.find(({ outputHolds }) => outputHolds !== 'logits') ?? heads[0];

/** The last layers of a model, as its outputs show them. */
export interface OnnxHeads {
  /** One for each output that is a head. */
  readonly heads: readonly [OnnxHead, ...OnnxHead[]];
  /** Whether all are the same layer, and no output that stands aside is another one. */
  readonly areOne: boolean;
  /** Outputs of several products or of their mean, which are read only where no other is a head. */
  readonly aside: readonly AsideOutput[];
}

interface AsideOutput extends Pick<OnnxHead, 'output' | 'outputHolds'> {
  /** undefined: its products do not tell. */
  readonly classes: number | undefined;
  /** Whether it is a classifier as well: of as many classes as a head, or with a softmax. */
  readonly isHead: boolean;
}

/**
 * Every output that is a head, whether they are the same or not.
 *
 * @throws KdSpecError `checkpoint-invalid` when there is none
 */
export async function headsOf(model: OnnxModel, hints: HeadHints = {}): Promise<OnnxHeads> {
  const starts = hints.logits === undefined ? model.graph.output.map(({ name }) => name) : [hints.logits];
  if (hints.logits !== undefined && !model.producers.has(hints.logits)) {
    throw invalid(model.path, `no value "${hints.logits}" (--logits) in the graph: ${someNames(model)}`);
  }
  const { walks, aside: others, failures } = await walksBack(model, starts);
  const found: OnnxHead[] = [];
  for (const { start, walk } of walks) {
    const head = await readHead(model, start, walk);
    if ('failure' in head) failures.push({ start, ...head });
    else found.push(head);
  }
  const wanted = hints.features === undefined ? undefined : beforeDropouts(model, hints.features);
  const [first, ...further] = found.filter(({ features }) => wanted === undefined || features === wanted);
  if (first === undefined) {
    const which =
      found.length > 0
        ? `the head takes ${quoted(found.map(({ features }) => features))}, not "${hints.features}" (--features)`
        : 'expected a last layer that multiplies features by constant weights; ' +
          failures.map(({ start, failure }) => `from "${start}": ${failure}`).join('; ');
    const isFinal = found.length === 0 && failures.every(({ isFinal }) => isFinal === true);
    throw invalid(model.path, `${which}: ${isFinal ? '' : `${whatHelps(model)}; or `}${asTables}`);
  }
  const heads = [first, ...further] as const;
  const aside: AsideOutput[] = [];
  for (const { start: output, walk } of others) {
    if (wanted !== undefined && featuresOf(model, walk) !== wanted) continue;
    const classes = await classesOf(model, walk);
    const isHead = walk.outputHolds !== 'logits' || heads.some((head) => head.classes === classes);
    aside.push({ output, outputHolds: walk.outputHolds, classes, isHead });
  }
  const areOne = further.every((head) => isSameLayer(head, first)) && !aside.some(({ isHead }) => isHead);
  return { heads, areOne, aside };
}

/** The value that the products of a walk take, of a mean over places their mean; undefined where the graph has none. */
function featuresOf(model: OnnxModel, walk: Walk): string | undefined {
  const [{ node, pool }] = productsOf(walk);
  return pool ? meanFeatures(model, pool, node) : beforeDropouts(model, node.input[0]);
}

/** How many classes the products of a walk have; undefined where they differ, or one cannot be read. */
async function classesOf(model: OnnxModel, walk: Walk): Promise<number | undefined> {
  const counts = new Set<number | undefined>();
  for (const { node } of productsOf(walk)) {
    const product = await readProduct(model, node).catch(() => undefined);
    counts.add(product?.weights.shape[1]);
  }
  const [classes] = counts;
  return counts.size === 1 ? classes : undefined;
}

const roundingError = 1e-5; // of what is folded into weights of single precision, relative to the largest

/**
 * Whether two layers rank the classes of every image alike: the logits of one are those of the other times a positive
 * factor, plus an offset, both of which all classes share.
 */
function isSameLayer(head: OnnxHead, other: OnnxHead): boolean {
  if (head.features !== other.features || head.classes !== other.classes) return false;
  const ownSize = largest(head.weights);
  const at = head.weights.findIndex((value) => Math.abs(value) === ownSize);
  const factor = ownSize === 0 ? 1 : other.weights[at] / head.weights[at];
  if (!(factor > 0)) return false;
  const mostDifferent = roundingError * factor * ownSize;
  const isScaled = head.weights.every(
    (value, i) => Math.abs(other.weights[i] - factor * value) <= mostDifferent,
  );
  const offsets = Float64Array.from(head.bias, (value, c) => other.bias[c] - factor * value);
  const mostApart = 2 * roundingError * Math.max(factor * largest(head.bias), largest(other.bias));
  return isScaled && offsets.every((offset) => Math.abs(offset - offsets[0]) <= mostApart);
}

const largest = (values: Float32Array) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

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
