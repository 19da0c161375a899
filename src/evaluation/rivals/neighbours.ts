import type { Operations } from '../../compute/operations.js';
import { KdSpecError } from '../../core/errors.js';
import { softmax } from '../../math/softmax.js';
import { topK } from '../../math/top-k.js';
import { standardise } from '../../models/feature-scale.js';
import type { NeighbourHead } from '../../models/onnx/neighbour-head.js';
import type { FeatureSet, HeadContext } from '../../training/heads/fit-head.js';
import { type Candidates, candidatesOf, emptyLeaders, lead, type Rival, shifts } from './rival.js';
import { keptFirst } from './scored-set.js';

const sharpness = 20; // of a neighbour's vote, in nats for a cosine of 1
const clearCosine = 1e-5; // by which neighbours have to differ, so that single precision tells which is nearer

/** Whatever no variant changes. */
export const neighbourConstants = { first: keptFirst, sharpness } as const;

/** How many neighbours vote, and how much their votes count against the generalist. */
const neighbourVariants = [8, 32].flatMap((neighbours) =>
  [0.25, 0.5, 0.75, 0.95].map((share) => ({ neighbours, share })),
);

/**
 * Nearest neighbours among the training features rank the generalist's ten most probable classes again.
 *
 *     v_c = sum over the k nearest of class c of exp(20 cos) / sum over all k,   p'_c = (1 - share) p_c + share v_c
 *
 * with p and v brought to sum 1 over the ten. Where no neighbour is of the ten, p stays.
 *
 * Cost: a product with all training features for each image.
 *
 * @see Khandelwal et al., Generalization through Memorization, ICLR 2020, for the mixture
 */
export function neighboursRival(context: HeadContext): Rival {
  const { operations, train, head, isPictured } = context;
  const { width, classes } = head;
  const memory = transposedUnits(train); // (width, rows)
  return {
    name: 'neighbours',
    what: `nearest neighbours among the training features rank the first ${keptFirst} classes again`,
    variants: neighbourVariants,
    shifts,
    cost: {
      flops: 2 * width * classes + 2 * width * train.rows,
      parameters: train.rows * (width + 1),
      trainingSeconds: 0,
      trainingFlops: 0,
    },
    async leaders(set, variants) {
      const found = variants.map(() => emptyLeaders(set.rows));
      const most = Math.max(...variants.map(({ neighbours }) => neighbours));
      const { first } = set.generalist;
      await eachOfNearest(operations, { ...train, units: memory }, set, (row, { near, length }) => {
        if (context.signal.aborted)
          throw new KdSpecError('interrupted', 'stopped while rivals were compared');
        const from = row * first.count;
        const indices = first.classes.subarray(from, from + first.count);
        const ranked = contendersOf(
          { indices, values: first.logits.subarray(from, from + first.count) },
          isPictured,
        );
        const nearest = topK(near, most);
        for (const [index, variant] of variants.entries()) {
          const scores = mixedScores(ranked, nearest, { labels: train.labels, length, ...variant });
          lead(found[index], row, scores, ranked.candidates);
        }
      });
      return found;
    },
  };
}

/**
 * What stored neighbours make of the predictions of some images: the reference of the graph that has them.
 *
 * @param images `features` (rows, width) as they are; `logits` (rows, classes) of the model
 * @returns `probabilities` (rows, classes); `isRanked` (rows, classes), 0 where a class keeps its probability; `isClear`
 * (rows), 0 where the last neighbour that votes is as near as one of another class that does not, as far as single precision
 * tells, so that either may vote
 *
 * Cost: a product with all stored features for each image.
 */
export async function neighbourPredictions(
  operations: Operations,
  stored: NeighbourHead,
  images: { readonly features: Float32Array; readonly logits: Float32Array; readonly rows: number },
): Promise<{
  readonly probabilities: Float32Array;
  readonly isRanked: Uint8Array;
  readonly isClear: Uint8Array;
}> {
  const { units, labels, scale, isPictured, neighbours, share, shift, first: most, blank } = stored;
  const width = scale.mean.length;
  const classes = isPictured.length;
  const queries = { features: images.features.slice(), rows: images.rows };
  standardise({ ...queries, width }, scale);
  const probabilities = new Float32Array(images.rows * classes);
  const isRanked = new Uint8Array(images.rows * classes);
  const isClear = new Uint8Array(images.rows);
  await eachOfNearest(operations, { units, labels, width }, queries, (row, { near, length }) => {
    const own = images.logits.slice(row * classes, (row + 1) * classes);
    const found = probabilities.subarray(row * classes, (row + 1) * classes);
    found.set(softmax(own));
    if (blank !== null) own[blank] = Number.NEGATIVE_INFINITY;
    const ranked = contendersOf(
      topK(own, Math.min(most, blank === null ? classes : classes - 1)),
      isPictured,
    );
    const { classes: ten, inside } = ranked.candidates;
    const mass = ten.reduce((sum, label) => sum + found[label], 0);
    const nearest = topK(near, neighbours);
    const scores = mixedScores(ranked, nearest, { labels, length, neighbours, share });
    const mixed = scores.map((score, place) => Math.exp(score + (place < inside ? shift : 0)));
    const sum = mixed.reduce((all, one) => all + one, 0);
    for (const [place, label] of ten.entries()) {
      found[label] = (mass * mixed[place]) / sum;
      isRanked[row * classes + label] = 1;
    }
    isClear[row] = Number(tellsLast(near, nearest, { labels, within: clearCosine * length }));
  });
  return { probabilities, isRanked, isClear };
}

/**
 * Visits images with how near all stored features are to each.
 *
 * @param stored `units` (width, stored rows), of length 1
 * @param images `features` (rows, width), standardised as what is stored was
 * @param visit gets of an image `near` (stored rows), the cosine times the image's `length`, which is valid during the call
 *
 * Cost: a product with all stored features for each image, in chunks of at most 2^22 numbers, or one image.
 */
async function eachOfNearest(
  operations: Operations,
  { units, labels, width }: Pick<NeighbourHead, 'units' | 'labels'> & { readonly width: number },
  { features, rows }: Pick<FeatureSet, 'features' | 'rows'>,
  visit: (row: number, found: { readonly near: Float32Array; readonly length: number }) => void,
): Promise<void> {
  const stored = labels.length;
  const chunk = Math.max(1, Math.min(128, Math.floor(2 ** 22 / stored)));
  const keys = operations.tensor(units, [width, stored] as const);
  try {
    for (let start = 0; start < rows; start += chunk) {
      const end = Math.min(start + chunk, rows);
      const product = operations.tidy(() => {
        const queries = features.subarray(start * width, end * width);
        return operations.matMul(operations.tensor(queries, [end - start, width] as const), keys);
      });
      const values = await operations.read(product);
      product.dispose();
      for (let row = start; row < end; row++) {
        visit(row, {
          near: values.subarray((row - start) * stored, (row - start + 1) * stored),
          length: lengthOf(features.subarray(row * width, (row + 1) * width)),
        });
      }
      await new Promise(setImmediate);
    }
  } finally {
    keys.dispose();
  }
}

/** The first classes of an image. */
interface Contenders {
  readonly candidates: Candidates;
  /** Their probabilities, in the order of the candidates and with sum 1. */
  readonly masses: Float64Array;
}

/** @param first classes and their logits */
function contendersOf(
  { indices, values }: { readonly indices: Int32Array; readonly values: Float32Array },
  isPictured: Uint8Array,
): Contenders {
  const candidates = candidatesOf(indices, isPictured);
  const logits = Float32Array.from(candidates.classes, (label) => values[indices.indexOf(label)]);
  return { candidates, masses: Float64Array.from(softmax(logits)) };
}

/** Whether no other stored feature that is as near as the last of the nearest is of another class than that. */
function tellsLast(
  near: Float32Array,
  { indices, values }: { readonly indices: Int32Array; readonly values: Float32Array },
  { labels, within }: { readonly labels: Int32Array; readonly within: number },
): boolean {
  const last = values[values.length - 1];
  const ofClass = labels[indices[indices.length - 1]];
  let [reached, isMixed] = [0, false];
  for (const [index, value] of near.entries()) {
    if (value < last - within) continue;
    reached++;
    if (value <= last + within && labels[index] !== ofClass) isMixed = true;
  }
  return reached === indices.length || !isMixed;
}

const lengthOf = (values: Float32Array) =>
  Math.sqrt(values.reduce((sum, value) => sum + value * value, 0)) || 1;

/** The logarithms of the mixture over the candidates. */
function mixedScores(
  { candidates, masses }: Contenders,
  nearest: { readonly indices: Int32Array; readonly values: Float32Array },
  {
    labels,
    length,
    neighbours = 1,
    share = 0,
  }: {
    readonly labels: Int32Array;
    readonly length: number;
    readonly neighbours?: number;
    readonly share?: number;
  },
): Float64Array {
  const { classes } = candidates;
  const votes = new Float64Array(classes.length);
  let sum = 0;
  for (let rank = 0; rank < Math.min(neighbours, nearest.indices.length); rank++) {
    const place = classes.indexOf(labels[nearest.indices[rank]]);
    if (place < 0) continue;
    const vote = Math.exp((sharpness * (nearest.values[rank] - nearest.values[0])) / length);
    votes[place] += vote;
    sum += vote;
  }
  return votes.map((vote, place) =>
    Math.log(sum > 0 ? (1 - share) * masses[place] + (share * vote) / sum : masses[place]),
  );
}

/** Features of length 1, (width, rows). */
export function transposedUnits({ features, rows, width }: FeatureSet): Float32Array {
  const units = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    let square = 0;
    for (let at = row * width; at < (row + 1) * width; at++) square += features[at] ** 2;
    const length = Math.sqrt(square) || 1;
    for (let feature = 0; feature < width; feature++)
      units[feature * rows + row] = features[row * width + feature] / length;
  }
  return units;
}
