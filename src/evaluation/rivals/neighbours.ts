import type { Operations } from '../../compute/operations.js';
import { KdSpecError } from '../../core/errors.js';
import { softmax } from '../../math/softmax.js';
import { topK } from '../../math/top-k.js';
import { standardise } from '../../models/feature-scale.js';
import type { NeighbourHead } from '../../models/onnx/neighbour-head.js';
import { type FeatureSet, type HeadContext, sliceRows } from '../../training/heads/fit-head.js';

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
      const firsts: Candidates[] = [];
      const masses: Float64Array[] = [];
      const { first } = set.generalist;
      for (let at = 0; at < first.classes.length; at += first.count) {
        const ten = first.classes.subarray(at, at + first.count);
        const sorted = candidatesOf(ten, isPictured);
        firsts.push(sorted);
        const logits = Float32Array.from(sorted.classes, (label) => first.logits[at + ten.indexOf(label)]);
        masses.push(Float64Array.from(softmax(logits)));
      }
      const keys = operations.tensor(memory, [width, train.rows] as const);
      const chunk = Math.max(1, Math.min(128, Math.floor(2 ** 22 / train.rows)));
      try {
        for (let start = 0; start < set.rows; start += chunk) {
          if (context.signal.aborted)
            throw new KdSpecError('interrupted', 'stopped while rivals were compared');
          const queries = sliceRows(set, start, start + chunk);
          const product = operations.tidy(() =>
            operations.matMul(operations.tensor(queries.features, [queries.rows, width] as const), keys),
          );
          const values = await operations.read(product); // (queries, rows), cosine times the query's length
          product.dispose();
          for (let place = 0; place < queries.rows; place++) {
            const row = start + place;
            const query = queries.features.subarray(place * width, (place + 1) * width);
            const length = lengthOf(query);
            const nearest = topK(values.subarray(place * train.rows, (place + 1) * train.rows), most);
            for (const [index, variant] of variants.entries()) {
              const scores = mixedScores(firsts[row].classes, masses[row], nearest, {
                labels: train.labels,
                length,
                ...variant,
              });
              lead(found[index], row, scores, firsts[row]);
            }
          }
          await new Promise(setImmediate);
        }
      } finally {
        keys.dispose();
      }
      return found;
    },
  };
}

/**
 * What stored neighbours make of the predictions of some images: the reference of the graph that has them.
 *
 * @param images `features` (rows, width) as they are; `logits` (rows, classes) of the model
 * @returns `probabilities` (rows, classes), and `isClear` (rows): 0 where the last neighbour that votes is as near as one of
 * another class that does not, as far as single precision tells, so that either may vote
 *
 * Cost: a product with all stored features for each image.
 */
export async function neighbourPredictions(
  operations: Operations,
  stored: NeighbourHead,
  images: { readonly features: Float32Array; readonly logits: Float32Array; readonly rows: number },
): Promise<{ readonly probabilities: Float32Array; readonly isClear: Uint8Array }> {
  const { units, labels, scale, isPictured, neighbours, share, shift, first: most, blank } = stored;
  const width = scale.mean.length;
  const classes = isPictured.length;
  const queries = images.features.slice();
  standardise({ features: queries, width }, scale);
  const product = operations.tidy(() =>
    operations.matMul(
      operations.tensor(queries, [images.rows, width] as const),
      operations.tensor(units, [width, labels.length] as const),
    ),
  );
  const values = await operations.read(product);
  product.dispose();
  const probabilities = new Float32Array(images.rows * classes);
  const isClear = new Uint8Array(images.rows);
  for (let row = 0; row < images.rows; row++) {
    const own = images.logits.slice(row * classes, (row + 1) * classes);
    const found = probabilities.subarray(row * classes, (row + 1) * classes);
    found.set(softmax(own));
    if (blank !== null) own[blank] = Number.NEGATIVE_INFINITY;
    const ten = topK(own, Math.min(most, blank === null ? classes : classes - 1)).indices;
    const candidates = candidatesOf(ten, isPictured);
    const mass = candidates.classes.reduce((sum, label) => sum + found[label], 0);
    const among = Float64Array.from(softmax(Float32Array.from(candidates.classes, (label) => own[label])));
    const near = values.subarray(row * labels.length, (row + 1) * labels.length);
    const length = lengthOf(queries.subarray(row * width, (row + 1) * width));
    const nearest = topK(near, neighbours);
    const scores = mixedScores(candidates.classes, among, nearest, { labels, length, neighbours, share });
    const mixed = scores.map((score, place) => Math.exp(score + (place < candidates.inside ? shift : 0)));
    const sum = mixed.reduce((all, one) => all + one, 0);
    for (const [place, label] of candidates.classes.entries()) found[label] = (mass * mixed[place]) / sum;
    isClear[row] = Number(tellsLast(near, nearest, { labels, within: clearCosine * length }));
  }
  return { probabilities, isClear };
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
  first: Int32Array,
  masses: Float64Array,
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
  const votes = new Float64Array(first.length);
  let sum = 0;
  for (let rank = 0; rank < Math.min(neighbours, nearest.indices.length); rank++) {
    const place = first.indexOf(labels[nearest.indices[rank]]);
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
