import { assert } from '../../core/errors.js';
import type { Random } from '../../core/random.js';
import type { Network } from '../../models/network.js';
import { chunkSize } from '../../models/network-classifier.js';
import { hiddenFeatures, type NetworkPart } from '../../models/network-definition.js';
import { runNetwork } from '../../models/run-network.js';
import { widenDense } from '../../models/widen.js';
import type { TrainingBatch } from '../../training/train.js';
import type { SpecialistHead } from './specialist.js';
import { createFullSpecialist, createSpecialist, firstTrainedPart, type Retrain } from './specialist.js';

/** What a specialist's first network is to be. */
interface Shape {
  readonly head: SpecialistHead;
  readonly retrain: Retrain;
  /** Units of each dense layer; null: as many as the generalist's. */
  readonly dense: readonly number[] | null;
}

/** A specialist before training. */
export interface FirstNetwork {
  readonly network: Network;
  /** KL divergence, in nats, of its prediction from the generalist's. */
  readonly divergence: number;
  /** How many images it took to make it. */
  readonly sampled: number;
}

/**
 * The network with which a specialist begins, whose prediction is the generalist's as nearly as its head allows: of the
 * generalist's size, or with the wider dense layers of `shape.dense`.
 *
 * @param classes the subset, (s)
 * @param how.correction the dustbin correction, in nats, which the first bias of what lies outside the subset lacks
 * @param how.sample batches of the specialist's own mixture, to fit a dustbin's row to; a full head needs none, and an
 *   anchored dustbin has nothing to fit
 * @param how.random draws the weights of units that are added
 */
export async function firstNetwork(
  { head, retrain, dense }: Shape,
  generalist: Network,
  classes: readonly number[],
  {
    correction,
    sample,
    random,
  }: {
    readonly correction: number;
    readonly sample: () => AsyncIterable<TrainingBatch>;
    readonly random: Random;
  },
): Promise<FirstNetwork> {
  const first = await asGeneralist();
  if (dense === null) return first;
  const network = await widenDense(first.network, dense, random);
  first.network.dispose();
  return { ...first, network };

  async function asGeneralist(): Promise<FirstNetwork> {
    const exact = { divergence: 0, sampled: 0 };
    if (head === 'full')
      return { network: await createFullSpecialist(generalist, classes, -correction), ...exact };
    if (head === 'anchored') {
      const row = {
        weights: new Float32Array(hiddenFeatures(generalist.definition)),
        bias: -correction,
      };
      return { network: await createSpecialist(generalist, classes, row), ...exact };
    }
    const collapsed = await collapseGeneralist(generalist, sample(), classes, firstTrainedPart[retrain]);
    return withDustbin(generalist, classes, correction, collapsed);
  }
}

async function withDustbin(
  generalist: Network,
  classes: readonly number[],
  correction: number,
  collapsed: CollapsedSample,
): Promise<FirstNetwork> {
  const row = fitDustbinRow(collapsed);
  const network = await createSpecialist(generalist, classes, { ...row, bias: row.bias - correction });
  return { network, divergence: row.divergence, sampled: collapsed.inside.length };
}

/** Images, or what a network's lower parts make of them, with their shape. */
interface Inputs {
  readonly inputs: Float32Array;
  readonly shape: readonly [number, ...number[]];
}

/**
 * The generalist's predictions for batches of examples, collapsed to a subset and one bucket for all other classes.
 *
 * @param batches images (batch, height, width, channels) in [0, 1], or what the parts before `from` make of them,
 * (batch, width); with their shape
 * @param classes the subset, (s)
 * @param from the first part of the network that the batches are inputs of
 * @returns features and log-sum-exps over all batches, in order
 */
export async function collapseGeneralist(
  generalist: Network,
  batches: AsyncIterable<Inputs>,
  classes: readonly number[],
  from: NetworkPart = 'convolutions',
): Promise<CollapsedSample> {
  const parts: { features: Float32Array; inside: Float32Array; outside: Float32Array }[] = [];
  const { operations, definition } = generalist;
  const isOutside = new Float32Array(definition.outputs); // 0 outside the subset, -infinity inside
  for (const label of classes) isOutside[label] = Number.NEGATIVE_INFINITY;
  const mask = operations.tensor(isOutside, [definition.outputs]);
  const subset = operations.tensor(Int32Array.from(classes), [classes.length]);
  for await (const { inputs, shape } of inChunks(batches, chunkSize(definition.outputs))) {
    const tensors = operations.tidy(() => {
      const input = operations.tensor(inputs, shape);
      const features = runNetwork(generalist, input, { from, to: 'dense' }); // (batch, features)
      const logits = runNetwork(generalist, features, { from: 'head' }); // (batch, classes)
      const inside = operations.rowLogSumExps(operations.gatherColumns(logits, subset));
      const outside = operations.rowLogSumExps(operations.add(logits, mask));
      return [features, inside, outside];
    });
    const [features, inside, outside] = await Promise.all(tensors.map((tensor) => operations.read(tensor)));
    operations.dispose(tensors);
    parts.push({ features, inside, outside });
  }
  operations.dispose([subset, mask]);
  const joined = (key: 'features' | 'inside' | 'outside') => concatenate(parts.map((part) => part[key]));
  const inside = joined('inside');
  const features = joined('features');
  return { features, width: features.length / inside.length, inside, outside: joined('outside') };
}

/** The same examples, at most so many at a time. */
async function* inChunks(batches: AsyncIterable<Inputs>, most: number): AsyncGenerator<Inputs> {
  for await (const { inputs, shape } of batches) {
    const [count, ...ofOne] = shape;
    const size = inputs.length / count;
    for (let start = 0; start < count; start += most) {
      const end = Math.min(count, start + most);
      yield { inputs: inputs.subarray(start * size, end * size), shape: [end - start, ...ofOne] };
    }
  }
}

function concatenate(arrays: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(arrays.reduce((length, array) => length + array.length, 0));
  let offset = 0;
  for (const array of arrays) {
    all.set(array, offset);
    offset += array.length;
  }
  return all;
}

/** What the generalist predicts for a sample of examples, seen from one subset. */
export interface CollapsedSample {
  /** Hidden features before the head, (examples, width), row-major. */
  readonly features: Float32Array;
  readonly width: number;
  /** Log-sum-exp of the generalist's logits over the subset, (examples). */
  readonly inside: Float32Array;
  /** Log-sum-exp of the generalist's logits over all other classes, (examples). */
  readonly outside: Float32Array;
}

/** A row of the head for the dustbin: logit = weights · features + bias. */
export interface DustbinRow {
  /** (width) */
  readonly weights: Float32Array;
  readonly bias: number;
  /** Mean KL divergence, in nats, of the specialist's first prediction from the generalist's, collapsed. */
  readonly divergence: number;
}

const ridge = 1e-6; // keeps the row bounded where the sample is separable
const maxNewtonSteps = 30;
const tolerance = 1e-7; // of the objective's decrease, in nats
/** Of a Newton step's residual: a looser one costs less than the one or two steps more that it takes. */
const residualShare = 0.1;

/**
 * The dustbin row with which a specialist's first prediction is as near as a row can be to the generalist's,
 * collapsed to the subset and one bucket.
 *
 * The head's rows for the subset are copied, so inside the subset both distributions agree already, and the
 * divergence is that of the dustbin's mass alone. Exact agreement would need the logit
 * `log sum_{i not in S} exp(v_i)`, which is not linear in the features; with target
 * `t = sigmoid(outside - inside)` and log-odds `s = w · h + b - inside`, the row minimises
 *
 *     mean over examples of  log(1 + exp(s)) - t s  +  ridge/2 |w|²
 *
 * which is convex (a logistic regression with soft targets and an offset). Solved by Newton's method, its linear
 * systems by conjugate gradients, and only as well as the next step needs (inexact Newton). One outside class is matched exactly.
 *
 * Cost: about 30 products with the features a Newton step, a few to ten steps.
 * Source of the inexact steps: Dembo, Eisenstat and Steihaug, Inexact Newton Methods, SIAM J. Numer. Anal. 19 (1982).
 */
export function fitDustbinRow({ features, width, inside, outside }: CollapsedSample): DustbinRow {
  const examples = inside.length;
  assert(features.length === examples * width && outside.length === examples, 'sample lengths agree');
  const targets = outside.map((value, example) => sigmoid(value - inside[example]));

  // The unknowns: weights and, last, the bias.
  let row = new Float64Array(width + 1);
  row[width] = meanOf(outside);
  let odds = logOdds(features, inside, row);
  let loss = objective(odds, targets, row);
  for (let step = 0; step < maxNewtonSteps; step++) {
    const curvature = odds.map((value) => sigmoid(value) * (1 - sigmoid(value)));
    const residual = odds.map((value, example) => sigmoid(value) - targets[example]);
    const gradient = transposedProduct(features, residual, row);
    const direction = solveNewton(features, curvature, gradient);

    // Newton's method on a convex function needs no more than halving to descend.
    let scale = 1;
    let next = row;
    let nextLoss = Number.POSITIVE_INFINITY;
    while (scale > 1e-6) {
      next = row.map((value, index) => value - scale * direction[index]);
      odds = logOdds(features, inside, next);
      nextLoss = objective(odds, targets, next);
      if (nextLoss <= loss) break;
      scale /= 2;
    }
    const decrease = loss - nextLoss;
    if (!(decrease >= 0)) break;
    row = next;
    loss = nextLoss;
    if (decrease < tolerance) break;
  }
  odds = logOdds(features, inside, row);
  return {
    weights: Float32Array.from(row.subarray(0, width)),
    bias: row[width],
    divergence: meanDivergence(odds, targets),
  };
}

/** s = w · h + b - inside, (examples) */
function logOdds(features: Float32Array, inside: Float32Array, row: Float64Array): Float64Array {
  const product = timesFeatures(features, row);
  return product.map((value, example) => value - inside[example]);
}

/** [features 1] · row, (examples) */
function timesFeatures(features: Float32Array, row: Float64Array): Float64Array {
  const width = row.length - 1;
  const product = new Float64Array(features.length / width);
  for (let example = 0; example < product.length; example++) {
    const start = example * width;
    let sum = row[width];
    for (let index = 0; index < width; index++) sum += features[start + index] * row[index];
    product[example] = sum;
  }
  return product;
}

/** [features 1]ᵀ · values / examples + ridge · row (without the bias), (width + 1) */
function transposedProduct(features: Float32Array, values: Float64Array, row: Float64Array): Float64Array {
  const width = row.length - 1;
  const product = new Float64Array(width + 1);
  for (let example = 0; example < values.length; example++) {
    const start = example * width;
    const value = values[example];
    for (let index = 0; index < width; index++) product[index] += features[start + index] * value;
    product[width] += value;
  }
  for (let index = 0; index <= width; index++) {
    product[index] = product[index] / values.length + (index < width ? ridge * row[index] : 0);
  }
  return product;
}

/** Solves H x = gradient about, H = [features 1]ᵀ diag(curvature) [features 1] / examples + ridge, by conjugate gradients. */
function solveNewton(features: Float32Array, curvature: Float64Array, gradient: Float64Array): Float64Array {
  const solution = new Float64Array(gradient.length);
  const residual = gradient.slice();
  let direction = gradient.slice();
  let norm = dot(residual, residual);
  const target = norm * residualShare ** 2;
  for (let step = 0; step < gradient.length && norm > target; step++) {
    const curved = timesFeatures(features, direction).map((value, example) => value * curvature[example]);
    const image = transposedProduct(features, curved, direction);
    const steepness = dot(direction, image);
    if (!(steepness > 0)) break; // saturated: no curvature is left to solve against
    const length = norm / steepness;
    for (let index = 0; index < solution.length; index++) {
      solution[index] += length * direction[index];
      residual[index] -= length * image[index];
    }
    const nextNorm = dot(residual, residual);
    direction = direction.map((value, index) => residual[index] + (nextNorm / norm) * value);
    norm = nextNorm;
  }
  return solution;
}

function objective(odds: Float64Array, targets: Float32Array, row: Float64Array): number {
  let sum = 0;
  for (let example = 0; example < odds.length; example++) {
    sum += softplus(odds[example]) - targets[example] * odds[example];
  }
  const weights = row.subarray(0, row.length - 1);
  return sum / odds.length + (ridge / 2) * dot(weights, weights);
}

/** Mean of KL(target || sigmoid(odds)) over two outcomes: special and dustbin. */
function meanDivergence(odds: Float64Array, targets: Float32Array): number {
  let sum = 0;
  for (let example = 0; example < odds.length; example++) {
    const target = targets[example];
    const entropy = negativeLog(target) + negativeLog(1 - target);
    sum += softplus(odds[example]) - target * odds[example] - entropy;
  }
  return Math.max(0, sum / odds.length);
}

const negativeLog = (share: number) => (share > 0 ? -share * Math.log(share) : 0);
const sigmoid = (value: number) => 1 / (1 + Math.exp(-value));
const softplus = (value: number) => Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value)));

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let index = 0; index < a.length; index++) sum += a[index] * b[index];
  return sum;
}

function meanOf(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
