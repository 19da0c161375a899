import { KdSpecError } from '../../core/errors.js';
import { softmax } from '../../math/softmax.js';
import { topK } from '../../math/top-k.js';
import { type FeatureSet, type HeadContext, sliceRows } from '../../training/heads/fit-head.js';

import { type Candidates, candidatesOf, emptyLeaders, lead, type Rival, shifts } from './rival.js';
import { keptFirst } from './scored-set.js';

const sharpness = 20; // of a neighbour's vote, in nats for a cosine of 1

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
            const length = Math.sqrt(query.reduce((sum, value) => sum + value * value, 0)) || 1;
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
function transposedUnits({ features, rows, width }: FeatureSet): Float32Array {
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
