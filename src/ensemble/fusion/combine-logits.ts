import type { GeometricMean } from '../../compute/operations/geometric-mean.js';
import { believedMass, nearlyAll } from './combine-inside.js';
import { smallestSoftmax, sumOfMasses } from './fusion-input.js';

/** What an active specialist says, as its network says it. */
export interface LogitAnswer {
  /** (s), the subset: distinct class indices. */
  readonly classes: Int32Array;
  /** (s + 1), the dustbin last, its correction added. */
  readonly logits: Float32Array;
  /** (s), what q has for them, if that is at hand. */
  readonly masses?: Float32Array | undefined;
  /** Above 0. */
  readonly temperature: number;
  /** Beside the generalist's of 1, above 0. */
  readonly weight: number;
}

/** Options of {@link combineLogits}. */
export interface CombineLogitsOptions {
  /** v of `combineInside`, in [0, 1]. */
  readonly dustbinTrust?: number;
  /** (greatest s or more), overwritten. */
  readonly room: Float64Array;
  /** For s + 1 values or more; used where the dustbin does not matter. */
  readonly kernel?: GeometricMean | undefined;
}

/** Nats below the largest logit from which on {@link smallestSoftmax}, 69 below a softmax of 1, may be near. */
const farBelow = 50;

/** A row is scaled as a whole before its pending factor leaves `[1 / pendingRange, pendingRange]`. */
const pendingRange = 1000;

/**
 * `combineInside` for what networks say, in place: for many images, where nothing has to be checked.
 *
 * A softmax is a distribution by its making, and the logarithms of a specialist's are its logits but for a common
 * term. What lies outside the subsets only changes by a factor, which is applied once, at the end.
 *
 * @param q (classes), the generalist's softmax; becomes the fused distribution
 * @param answers of the active specialists, in order
 *
 * Cost: two or, with trust, three transcendental functions for each class of the subsets, and with trust one pass
 * over the classes, or two where the generalist is sure of the subset.
 */
export function combineLogits(
  q: Float32Array,
  answers: readonly LogitAnswer[],
  { dustbinTrust = 0, room, kernel }: CombineLogitsOptions,
): void {
  let pending = 1; // q is this times what is stored
  for (const answer of answers) {
    const { classes } = answer;
    const smallest = smallestSoftmax / pending;
    const inTheKernel = kernel && dustbinTrust === 0 ? meanByKernel(q, answer, kernel, smallest) : undefined;
    const mean = inTheKernel ?? meanInJavaScript(q, answer, room, smallest, dustbinTrust > 0);
    if (mean === 'silent') continue;
    const { sum, values, total, named, dustbin } = mean;
    let inside = pending * sum; // Q_S
    let outside = Math.max(0, 1 - inside);
    if (dustbinTrust > 0 && inside > nearlyAll) {
      for (let i = 0; i < classes.length; i++) q[classes[i]] = 0;
      outside = pending * sumOfMasses(q, 'the generalist'); // the difference to 1 would be rounding
      inside /= inside + outside;
    }
    const target = outside > 0 ? believedMass(inside, named, dustbin, dustbinTrust) : 1;
    if (target !== inside && outside > 0) {
      pending *= (1 - target) / outside;
      if (!(pending > 1 / pendingRange && pending < pendingRange)) {
        scaleAll(q, pending);
        pending = 1;
      }
    }
    const share = target / total / pending;
    for (let i = 0; i < classes.length; i++) q[classes[i]] = share * values[i];
  }
  if (pending !== 1) scaleAll(q, pending);
}

/** The geometric mean of generalist and specialist inside a subset. */
interface InsideMean {
  /** Of what is stored of the generalist there. */
  readonly sum: number;
  /** (s or more), the mean but for a factor. */
  readonly values: Float32Array | Float64Array;
  /** Its sum. */
  readonly total: number;
  /** The specialist's mass on its subset, and in its dustbin; only exact where they matter. */
  readonly named: number;
  readonly dustbin: number;
}

/** @returns `silent` where the specialist puts everything in its dustbin */
function meanInJavaScript(
  q: Float32Array,
  { classes, logits, temperature, weight }: LogitAnswer,
  values: Float64Array,
  smallest: number,
  exact: boolean,
): InsideMean | 'silent' {
  const { named, dustbin, floor } = statedMasses(logits, temperature, exact);
  if (named === 0) return 'silent';
  const ofGeneralist = 1 / (1 + weight);
  const ofSpecialist = (1 - ofGeneralist) / temperature;
  let sum = 0;
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < classes.length; i++) {
    const mass = q[classes[i]];
    sum += mass;
    const log = ofGeneralist * Math.log(Math.max(mass, smallest)) + ofSpecialist * Math.max(logits[i], floor);
    values[i] = log;
    if (log > largest) largest = log;
  }
  let total = 0;
  for (let i = 0; i < classes.length; i++) {
    values[i] = Math.exp(values[i] - largest);
    total += values[i];
  }
  return { sum, values, total, named, dustbin };
}

/** @returns undefined where what a softmax counts as least is near, which the kernel leaves to JavaScript */
function meanByKernel(
  q: Float32Array,
  { classes, logits, masses, temperature, weight }: LogitAnswer,
  kernel: GeometricMean,
  smallest: number,
): InsideMean | undefined {
  const size = classes.length;
  const ofGeneralist = 1 / (1 + weight);
  const values = kernel.values();
  if (masses) values.set(masses);
  else for (let i = 0; i < size; i++) values[i] = q[classes[i]];
  values.set(logits, kernel.logitsAt);
  const { sum, total, largestLogit, smallestLogit } = kernel.run(
    size,
    ofGeneralist,
    (1 - ofGeneralist) / temperature,
    smallest,
  );
  if ((Math.max(largestLogit, logits[size]) - smallestLogit) / temperature > farBelow) return undefined;
  return { sum, values, total, named: 1, dustbin: 0 };
}

/**
 * The mass that a specialist puts on its subset, and in its dustbin; and the logit below which a class counts as
 * having `smallestSoftmax`.
 *
 * @param exact false where of the masses it is enough to know whether the first is above 0
 */
function statedMasses(
  logits: Float32Array,
  temperature: number,
  exact: boolean,
): { readonly named: number; readonly dustbin: number; readonly floor: number } {
  const size = logits.length - 1;
  let largest = Number.NEGATIVE_INFINITY;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < size; i++) {
    if (logits[i] > largest) largest = logits[i];
    if (logits[i] < least) least = logits[i];
  }
  const top = Math.max(largest, logits[size]);
  const reachesFloor = (top - least) / temperature > farBelow;
  if (!exact && !reachesFloor) return { named: 1, dustbin: 0, floor: Number.NEGATIVE_INFINITY };
  let sum = 0;
  for (let i = 0; i < size; i++) sum += Math.exp((logits[i] - top) / temperature);
  const rest = Math.exp((logits[size] - top) / temperature);
  const floor = top + temperature * (Math.log(smallestSoftmax) + Math.log(sum + rest));
  return { named: sum / (sum + rest), dustbin: rest / (sum + rest), floor };
}

function scaleAll(q: Float32Array, factor: number): void {
  for (let c = 0; c < q.length; c++) q[c] *= factor;
}
