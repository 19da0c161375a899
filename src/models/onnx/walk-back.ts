import type { NodeProto } from 'onnx-buf';
import { isIntegerProduct } from './integer-products.js';
import {
  beforeDropouts,
  endings,
  integersAttribute,
  type OnnxModel,
  type OutputHolds,
  transparent,
} from './model-file.js';
import { isPool, keepsAxes, meanAsText, poolProblem } from './pooled-head.js';

// The way from an output of a classifier back to its last product with constant weights, over what is linear and over what
// changes no order of the classes.

/** Begins the names of what is written in place of a head, or behind one. */
export const writtenHeadPrefix = 'kd_spec_head_';

/** A linear step after the product, met on the way back. */
export interface Step {
  readonly kind: 'add' | 'subtract' | 'multiply' | 'divide';
  /** The name of a constant, one number or one a class; where it is stored as codes, their scale and zero point, too. */
  readonly by: readonly string[];
}

/** A way back that ended at a product, or at a sum of products. */
export interface Walk {
  readonly node: NodeProto;
  /** The value that holds the logits with all that is folded in, before any softmax and change of shape. */
  readonly logits: string;
  /** Whether something between the product and that value changes its shape or its type. */
  readonly isReshaped: boolean;
  /** The mean over all places at which it multiplies: see `withMeanFeatures`. */
  readonly pool: NodeProto | undefined;
  /** Products of the same features that are summed, each times a factor; none: there is one. */
  readonly terms?: readonly { readonly walk: Walk; readonly factor: number }[];
  /** In the order of the walk: the last one is applied first. */
  readonly steps: readonly Step[];
  readonly outputHolds: OutputHolds;
  readonly path: readonly string[];
}

const products: ReadonlySet<string> = new Set(['MatMul', 'Gemm', 'Conv', 'MatMulInteger']);
export const isProduct = (opType: string) => products.has(opType) || isIntegerProduct(opType);
/** Of codes with codes: each operand is followed by its scale and zero point. */
const linearOfCodes: Readonly<Record<string, Step['kind']>> = { QLinearAdd: 'add', QLinearMul: 'multiply' };
const linear: Readonly<Record<string, Step['kind']>> = {
  Add: 'add',
  Sub: 'subtract',
  Mul: 'multiply',
  Div: 'divide',
};

/** Why a walk found no head. */
export interface Failure {
  readonly failure: string;
  /** Whether no other value of the graph can help. */
  readonly isFinal?: boolean;
}

/**
 * The walks that end at a head; one of several products counts only where no other does: it may be an embedding. Where one
 * does, those stand aside.
 */
export async function walksBack(model: OnnxModel, starts: readonly string[]) {
  const plain: { readonly start: string; readonly walk: Walk }[] = [];
  const composed: typeof plain = [];
  const failures: (Failure & { readonly start: string })[] = [];
  for (const start of starts) {
    const walk = await walkBack(model, start);
    if ('failure' in walk) failures.push({ start, ...walk });
    else (walk.pool || walk.terms ? composed : plain).push({ start, walk });
  }
  if (plain.length === 0) return { walks: composed, aside: [], failures };
  return { walks: plain, aside: composed, failures };
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
    } else if (opType === 'ScatterElements' && node.name.startsWith(writtenHeadPrefix)) {
      return {
        failure:
          `${chain(path)}: its first classes are ranked again by stored features (kd-spec export --refit neighbours ` +
          'wrote it), and no last layer is left: give the model that it was made of',
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
export const productsOf = (walk: Walk): readonly Walk[] =>
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

const chain = (path: readonly string[]) => path.slice(0, 6).join(' <- ') + (path.length > 6 ? ' <- ...' : '');

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
