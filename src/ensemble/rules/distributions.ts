import type { GeometricMean } from '../../compute/operations.js';
import { KdSpecError } from '../../core/errors.js';

/** A distribution, or any vector of probabilities. */
export type Probabilities = Float32Array | Float64Array;

/** A distribution's logarithms, where they are at hand: log p_i is `scale` times `values[i]`, up to a common term. */
export interface Logarithms {
  readonly values: ArrayLike<number>;
  readonly scale: number;
}

/** What an active specialist predicts for one example. */
export interface SpecialistPrediction {
  /** (s), the subset: distinct class indices. */
  readonly classes: Int32Array;
  /** (s + 1), one probability a class and the dustbin last, after its correction; sums to 1. */
  readonly probabilities: Probabilities;
  /** Its weight beside the generalist's, above 0. */
  readonly weight?: number;
  /** (s or more), of `probabilities`; spares a rule that needs logarithms to take them. */
  readonly logarithms?: Logarithms;
  /** Of the rule's parameters that are per specialist. */
  readonly parameters?: Readonly<Record<string, number>> | undefined;
}

/**
 * What a softmax output of exactly zero stands for. A softmax is never zero but for underflow, and an exact
 * zero would let no dustbin's mass go there at all.
 */
export const smallestSoftmax = 1e-30;

/** Sums that are off by more than this are refused; what is off by less is rounding, and is scaled to 1. */
const sumTolerance = 1e-3;

/**
 * Checks that values are probabilities that sum to 1 within {@link sumTolerance}, and returns their sum.
 *
 * @throws KdSpecError `fusion-input`
 */
export function checkedSum(probabilities: Probabilities, owner: string): number {
  return checkSum(sumOfMasses(probabilities, owner), owner);
}

/**
 * Checks that no value is negative or not a number, and returns their sum.
 *
 * In four parts, because over 15,000 classes the time goes into waiting for the previous addition.
 *
 * @throws KdSpecError `fusion-input`
 */
export function sumOfMasses(masses: Probabilities, owner: string): number {
  const whole = masses.length - (masses.length % 4);
  let [sum0, sum1, sum2, sum3] = [0, 0, 0, 0];
  let valid = true;
  for (let i = 0; i < whole; i += 4) {
    const a = masses[i];
    const b = masses[i + 1];
    const c = masses[i + 2];
    const d = masses[i + 3];
    if (!(a >= 0 && b >= 0 && c >= 0 && d >= 0)) valid = false;
    sum0 += a;
    sum1 += b;
    sum2 += c;
    sum3 += d;
  }
  for (let i = whole; i < masses.length; i++) {
    if (!(masses[i] >= 0)) valid = false;
    sum0 += masses[i];
  }
  if (!valid) {
    const position = masses.findIndex((mass) => !(mass >= 0));
    throw notAProbability(owner, position, masses[position]);
  }
  return sum0 + sum1 + (sum2 + sum3);
}

/** Returns the sum of a distribution, or throws when it is not 1 but for rounding. */
export function checkSum(sum: number, owner: string): number {
  if (!(Math.abs(sum - 1) <= sumTolerance)) {
    throw new KdSpecError(
      'fusion-input',
      `the probabilities of ${owner} must sum to 1 (within ${sumTolerance}), but sum to ${sum}: ` +
        'pass softmax outputs, not logits, and for a specialist the dustbin too',
    );
  }
  return sum;
}

export function notAProbability(owner: string, position: number, value: number): KdSpecError {
  return new KdSpecError(
    'fusion-input',
    `the probabilities of ${owner} must be numbers of 0 or more, but position ${position} holds ${value}: ` +
      'check the network that made them for overflow',
  );
}

/** Checks that a specialist's class is one of the generalist's. */
export function checkClass(c: number, classCount: number, owner: string): number {
  if (!(c >= 0 && c < classCount)) {
    throw new KdSpecError(
      'fusion-input',
      `${owner} names class ${c}, but the generalist has classes 0 to ${classCount - 1}`,
    );
  }
  return c;
}

export function repeatedClass(owner: string, c: number): KdSpecError {
  return new KdSpecError('fusion-input', `${owner} names class ${c} twice: a subset is a set`);
}

/** A dustbin with mass needs a class with mass outside the subset. */
export function noClassOutside(owner: string): KdSpecError {
  return new KdSpecError(
    'fusion-input',
    `the dustbin of ${owner} has mass, but no class outside its subset has any from the generalist or ` +
      'another specialist, so that no distribution fits: give the generalist a softmax without exact zeros, or ' +
      'the specialist no dustbin mass when its subset holds every class',
  );
}

/** Checks that a weight is a positive number. */
export function checkWeight(weight: number, owner: string): number {
  if (!(weight > 0 && weight < Number.POSITIVE_INFINITY)) {
    throw new KdSpecError(
      'fusion-input',
      `the weight of ${owner} must be a positive number, but is ${weight}: leave a specialist out to ignore it`,
    );
  }
  return weight;
}

/** Checks that a specialist has one probability for each of its classes and one for the dustbin. */
export function checkLengths({ classes, probabilities }: SpecialistPrediction, owner: string): void {
  if (probabilities.length !== classes.length + 1) {
    throw new KdSpecError(
      'fusion-input',
      `${owner} has ${classes.length} classes and so needs ${classes.length + 1} probabilities, the dustbin ` +
        `last, but has ${probabilities.length}`,
    );
  }
}

/**
 * Writes the generalist's distribution, scaled to sum to 1.
 *
 * @param q (classes), is overwritten
 * @throws KdSpecError `fusion-input` when the generalist's is no distribution
 */
export function startFromGeneralist(generalist: Probabilities, q: Float64Array): void {
  const scale = 1 / checkedSum(generalist, 'the generalist');
  for (let c = 0; c < q.length; c++) q[c] = scale * generalist[c];
}

/**
 * A specialist's weight, and the mass of its subset, once all of it has been checked.
 *
 * @param q (classes)
 * @returns `inside`: Q_S, by `q`; `named`: 1 - p^m_dustbin, by the specialist
 * @throws KdSpecError `fusion-input` when something is not a distribution, or a class is out of range
 */
export function subsetMasses(
  q: Float64Array,
  { classes, probabilities, weight = 1 }: SpecialistPrediction,
  owner: string,
): { readonly weight: number; readonly inside: number; readonly named: number } {
  checkLengths({ classes, probabilities }, owner);
  checkedSum(probabilities, owner);
  checkWeight(weight, owner);
  let inside = 0;
  let named = 0;
  for (let i = 0; i < classes.length; i++) {
    inside += q[checkClass(classes[i], q.length, owner)];
    named += probabilities[i];
  }
  return { weight, inside, named };
}

/** Multiplies every value by a factor: about ten times faster where a kernel reaches them. */
export function scaleAll(q: Float32Array, factor: number, kernel?: GeometricMean): void {
  if (kernel?.reaches(q)) kernel.scale(q, factor);
  else for (let c = 0; c < q.length; c++) q[c] *= factor;
}
