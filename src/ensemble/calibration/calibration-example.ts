import { KdSpecError } from '../../core/errors.js';
import { underLabelNoise } from '../label-noise.js';
import { type Probabilities, smallestSoftmax } from '../rules/distributions.js';

/** A distribution over many classes of which only the most probable are stored. */
export interface SparseDistribution {
  /** (k), distinct class indices. */
  readonly classes: ArrayLike<number>;
  /** (k), the probability of each; what they lack to 1 is spread evenly over all other classes. */
  readonly probabilities: ArrayLike<number>;
}

/** One validation example, with all predictions for it at temperature 1. */
export interface CalibrationExample {
  readonly label: number;
  /** The class that was predicted before, where harm is measured against another model than the generalist. */
  readonly before?: number;
  readonly generalist: SparseDistribution;
  /** The active specialists: `specialist` is a position in the list of specialists. */
  readonly specialists: readonly {
    readonly specialist: number;
    /** (s + 1), the dustbin last, after its correction. */
    readonly probabilities: Probabilities;
  }[];
}

/**
 * An example over few classes: the active subsets, the stored classes, the label, and one bucket (the last)
 * for all others, whose probabilities are equal. Logarithms, because temperatures divide them.
 */
export interface CompactExample {
  /** (n), the class of each position before the bucket. */
  readonly classes: Int32Array;
  /** Position of the label. */
  readonly label: number;
  /** Whether the class that was predicted before is the label; absent where the generalist says so. */
  readonly before?: 0 | 1;
  /** (n), log p^g at temperature 1. */
  readonly logGeneralist: Float64Array;
  /** How many classes the bucket holds, and log p^g of each of them. */
  readonly bucketSize: number;
  readonly logUnstored: number;
  readonly predictions: readonly CompactPrediction[];
}

/** What an active specialist predicts for a compact example. */
export interface CompactPrediction {
  readonly specialist: number;
  /** (s), its subset, as positions. */
  readonly classes: Int32Array;
  /** (s + 1), log p^m at temperature 1, the dustbin last. */
  readonly logProbabilities: Float64Array;
}

/** Below this a probability counts as this, so that one impossible label cannot decide a whole fit. */
export const smallestProbability = 1e-12;

/** Gathers the classes that matter to an example. Cost: the sum of the active subsets and k. */
export function compactExample(
  example: CalibrationExample,
  subsets: readonly { readonly classes: ArrayLike<number> }[],
  classCount: number,
): CompactExample {
  const { label, before, generalist, specialists } = example;
  if (!(label >= 0 && label < classCount)) {
    throw new KdSpecError('predictions-invalid', `label ${label} is not among the ${classCount} classes`);
  }
  const positions = new Map<number, number>();
  const place = (c: number) => {
    const known = positions.get(c);
    if (known !== undefined) return known;
    positions.set(c, positions.size);
    return positions.size - 1;
  };
  const predictions = specialists.map(({ specialist, probabilities }) => ({
    specialist,
    classes: Int32Array.from(subsets[specialist].classes, place),
    logProbabilities: Float64Array.from(probabilities, Math.log),
  }));
  const stored = Array.from(generalist.classes, place);
  const labelPosition = place(label);

  let storedMass = 0;
  for (let i = 0; i < stored.length; i++) storedMass += generalist.probabilities[i];
  const unstoredClasses = classCount - stored.length;
  const unstored = unstoredClasses > 0 ? Math.max(1 - storedMass, smallestProbability) / unstoredClasses : 0;
  const logUnstored = Math.log(unstored);
  const logGeneralist = new Float64Array(positions.size).fill(logUnstored);
  stored.forEach((position, i) => {
    logGeneralist[position] = Math.log(Math.max(generalist.probabilities[i], smallestSoftmax));
  });
  return {
    classes: Int32Array.from(positions.keys()),
    label: labelPosition,
    ...(before !== undefined && { before: before === label ? 1 : 0 }),
    logGeneralist,
    bucketSize: classCount - positions.size,
    logUnstored,
    predictions,
  };
}

/**
 * The generalist at a temperature, the bucket last. Exact at 1, and where nothing was unstored.
 *
 * @param out (n + 1), where it is written
 */
export function temperedGeneralist(
  { logGeneralist, logUnstored, bucketSize }: CompactExample,
  temperature: number,
  out: Float64Array = new Float64Array(logGeneralist.length + 1),
): Float64Array {
  const size = logGeneralist.length;
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < size; i++) if (logGeneralist[i] > largest) largest = logGeneralist[i];
  let sum = 0;
  for (let i = 0; i < size; i++) {
    out[i] = Math.exp((logGeneralist[i] - largest) / temperature);
    sum += out[i];
  }
  out[size] = bucketSize > 0 ? bucketSize * Math.exp((logUnstored - largest) / temperature) : 0;
  sum += out[size];
  for (let i = 0; i <= size; i++) out[i] /= sum;
  return out;
}

/** What an ensemble makes of one example: the log-likelihood of its label, and whether it comes first. */
export interface Outcome {
  /** In nats, from below cut off at that of {@link smallestProbability}. */
  readonly logLikelihood: number;
  /** q(label), without label noise. */
  readonly probability: number;
  readonly correct: 0 | 1;
  /** The probability of the first class. */
  readonly confidence: number;
}

/** Scores a distribution over the positions of a compact example; ties go to the lower class. */
export function outcome(q: Float64Array, example: CompactExample, labelNoise = 0): Outcome {
  const { label, classes, bucketSize } = example;
  const withNoise = underLabelNoise(labelNoise, classes.length + bucketSize);
  let correct: 0 | 1 = 1;
  let confidence = 0;
  for (let i = 0; i < classes.length; i++) {
    if (q[i] > confidence) confidence = q[i];
    if (q[i] > q[label] || (q[i] === q[label] && classes[i] < classes[label])) correct = 0;
  }
  const probability = q[label];
  return {
    logLikelihood: Math.log(Math.max(withNoise(probability), smallestProbability)),
    probability,
    correct,
    confidence: withNoise(confidence),
  };
}
