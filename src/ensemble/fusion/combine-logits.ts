import { believedMass } from './combine-inside.js';
import { smallestSoftmax, sumOfMasses } from './fusion-input.js';

/** What an active specialist says, as its network says it. */
export interface LogitAnswer {
  /** (s), the subset: distinct class indices. */
  readonly classes: Int32Array;
  /** (s + 1), the dustbin last, its correction added. */
  readonly logits: Float32Array;
  /** Above 0. */
  readonly temperature: number;
  /** Beside the generalist's of 1, above 0. */
  readonly weight: number;
}

/** Nats below the largest logit from which on {@link smallestSoftmax}, 69 below a softmax of 1, may be near. */
const farBelow = 50;

/** A mass of a subset from which on what is left is summed. */
const nearlyAll = 0.98;

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
 * @param options.dustbinTrust v of `combineInside`, in [0, 1]
 * @param options.room (greatest s or more), overwritten
 *
 * Cost: two or, with trust, three transcendental functions for each class of the subsets, and with trust one pass
 * over the classes, or two where the generalist is sure of the subset.
 */
export function combineLogits(
  q: Float32Array,
  answers: readonly LogitAnswer[],
  { dustbinTrust = 0, room }: { readonly dustbinTrust?: number; readonly room: Float64Array },
): void {
  let pending = 1; // q is this times what is stored
  for (const { classes, logits, temperature, weight } of answers) {
    const { named, dustbin, floor } = statedMasses(logits, temperature, dustbinTrust > 0);
    if (named === 0) continue;
    const size = classes.length;
    const ofGeneralist = 1 / (1 + weight);
    const ofSpecialist = (1 - ofGeneralist) / temperature;
    const smallest = smallestSoftmax / pending;
    let inside = 0; // Q_S
    let largest = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < size; i++) {
      const mass = q[classes[i]];
      inside += mass;
      const log =
        ofGeneralist * Math.log(Math.max(mass, smallest)) + ofSpecialist * Math.max(logits[i], floor);
      room[i] = log;
      if (log > largest) largest = log;
    }
    inside *= pending;
    let total = 0;
    for (let i = 0; i < size; i++) {
      room[i] = Math.exp(room[i] - largest);
      total += room[i];
    }
    let outside = Math.max(0, 1 - inside);
    if (dustbinTrust > 0 && inside > nearlyAll) {
      for (let i = 0; i < size; i++) q[classes[i]] = 0;
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
    for (let i = 0; i < size; i++) q[classes[i]] = share * room[i];
  }
  if (pending !== 1) scaleAll(q, pending);
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
