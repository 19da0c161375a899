import type { Probabilities, SpecialistPrediction } from '../../src/ensemble/rules/distributions.js';
import type { Fused, FuseOptions } from '../../src/ensemble/rules/paper.js';

export interface GradientDescentOptions extends Pick<FuseOptions, 'generalistWeight'> {
  readonly maxSteps?: number;
  /** Stops when this says so of q, shape (classes). */
  readonly until?: (q: Float64Array) => boolean;
  /** Steps from one look at `until` to the next. */
  readonly checkEvery?: number;
}

/**
 * The paper's fusion: gradient descent on the logits z of q = softmax(z), for one example.
 *
 *     dJ/dz_i = W q_i - a_i - q_i * sum over m not containing i of w_m p^m_dustbin / (1 - Q_m)
 *
 * The curvature is at most W/2, so that steps of 2/W never raise the objective. Kept as the reference that
 * `fuse` is compared with, and written without any of its ideas: every step visits every class.
 *
 * @param generalist (classes), sums to 1
 * @param specialists the active ones
 * @returns q of shape (classes), the objective in nats, and the number of steps
 *
 * Cost: `classes + sum of subset sizes` a step, thousands of steps.
 * Source: Hinton, Vinyals and Dean (2015), section 5.4, equation 5.
 */
export function fuseByGradientDescent(
  generalist: Probabilities,
  specialists: readonly SpecialistPrediction[],
  {
    generalistWeight = 1,
    maxSteps = 20_000,
    until = () => false,
    checkEvery = 1,
  }: GradientDescentOptions = {},
): Fused {
  const classes = generalist.length;
  const totalWeight = specialists.reduce((sum, { weight = 1 }) => sum + weight, generalistWeight);
  const known = Float64Array.from(generalist, (p) => generalistWeight * p); // (classes), a
  for (const { classes: subset, probabilities, weight = 1 } of specialists) {
    for (let i = 0; i < subset.length; i++) known[subset[i]] += weight * probabilities[i];
  }
  // (classes); a class without any known mass stays at zero, as in `fuse`.
  const logits = generalist.map((p, i) =>
    known[i] > 0 ? Math.log(Math.max(p, 1e-12)) : Number.NEGATIVE_INFINITY,
  );
  const z = Float64Array.from(logits);
  const q = new Float64Array(classes);
  const paid = new Float64Array(classes); // (classes), sum over m not containing i of r_m

  const inside = specialists.map(({ classes: subset }) => membership(subset, classes));
  for (let step = 0; ; step++) {
    softmax(z, q);
    if (step >= maxSteps || (step % checkEvery === 0 && until(q))) {
      const objective = objectiveAt(q, generalist, specialists, generalistWeight);
      return { probabilities: q, objective, iterations: step };
    }
    paid.fill(0);
    specialists.forEach(({ classes: subset, probabilities, weight = 1 }, m) => {
      const dustbin = probabilities[subset.length];
      if (dustbin === 0) return;
      const rate = (weight * dustbin) / massOutside(q, inside[m]);
      for (let i = 0; i < classes; i++) paid[i] += rate;
      for (let i = 0; i < subset.length; i++) paid[subset[i]] -= rate;
    });
    for (let i = 0; i < classes; i++) {
      z[i] -= (2 / totalWeight) * (totalWeight * q[i] - known[i] - q[i] * paid[i]);
    }
  }
}

/**
 * The fusion's objective at any q: `w_g KL(p^g || q) + sum_m w_m KL(p^m || q^m)`, in nats.
 *
 * @param q (classes)
 */
export function objectiveAt(
  q: Float64Array,
  generalist: Probabilities,
  specialists: readonly SpecialistPrediction[],
  generalistWeight = 1,
): number {
  let objective = 0;
  for (let i = 0; i < q.length; i++) {
    if (generalist[i] > 0) objective += generalistWeight * generalist[i] * Math.log(generalist[i] / q[i]);
  }
  for (const { classes, probabilities, weight = 1 } of specialists) {
    const dustbin = probabilities[classes.length];
    if (dustbin > 0)
      objective += weight * dustbin * Math.log(dustbin / massOutside(q, membership(classes, q.length)));
    for (let i = 0; i < classes.length; i++) {
      const p = probabilities[i];
      if (p > 0) objective += weight * p * Math.log(p / q[classes[i]]);
    }
  }
  return objective;
}

/** (classes), 1 for the classes of a subset. */
function membership(subset: Int32Array, classCount: number): Uint8Array {
  const inside = new Uint8Array(classCount);
  for (const c of subset) inside[c] = 1;
  return inside;
}

/** q's mass outside a subset, summed over those classes because 1 - Q would cancel. */
function massOutside(q: Float64Array, inside: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < q.length; i++) if (inside[i] === 0) sum += q[i];
  return sum;
}

function softmax(logits: Float64Array, out: Float64Array): void {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (logits[i] > largest) largest = logits[i];
  let sum = 0;
  for (let i = 0; i < logits.length; i++) {
    out[i] = Math.exp(logits[i] - largest);
    sum += out[i];
  }
  for (let i = 0; i < out.length; i++) out[i] /= sum;
}
