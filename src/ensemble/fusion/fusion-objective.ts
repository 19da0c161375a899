import type { ClassGroups } from './fusion-groups.js';
import type { Probabilities, SpecialistAnswer } from './fusion-input.js';
import { type KnownMasses, massOutside } from './fusion-masses.js';

/**
 * The fusion's objective at its minimiser q, in nats, from the union and the bucket alone.
 *
 *     w_g KL(p^g || q) + sum over active m of w_m KL(p^m || q^m)
 *
 * @param groupMasses (groups), q's mass on each
 * @param q (classes)
 *
 * Cost: one logarithm for each class of each subset, whatever the number of classes.
 * Source: Hinton, Vinyals and Dean (2015), section 5.4, equation 5.
 */
export function fusionObjective(
  generalist: Probabilities,
  specialists: readonly SpecialistAnswer[],
  {
    masses: { generalistWeight, generalistSum, sums, bucket },
    groups: { union, members },
    groupMasses,
  }: { readonly masses: KnownMasses; readonly groups: ClassGroups; readonly groupMasses: Float64Array },
  q: Float64Array,
): number {
  // With p = x / sum as it came: KL(p || q) = (sum of x log(x / q)) / sum - log sum.
  let divergence = divergenceTerm(bucket, groupMasses[0]);
  for (let row = 0; row < union.length; row++) {
    divergence += divergenceTerm(generalist[union[row]], q[union[row]]);
  }
  let objective = generalistWeight * (divergence / generalistSum - Math.log(generalistSum));
  for (let m = 0; m < specialists.length; m++) {
    const { classes, probabilities, weight = 1 } = specialists[m];
    divergence = divergenceTerm(probabilities[classes.length], massOutside(m, groupMasses, members));
    for (let i = 0; i < classes.length; i++) divergence += divergenceTerm(probabilities[i], q[classes[i]]);
    objective += weight * (divergence / sums[m] - Math.log(sums[m]));
  }
  return objective;
}

/** One term of KL(p || q). Below 1e-300 it is zero to any precision, while q may have underflowed. */
function divergenceTerm(p: number, q: number): number {
  return p < 1e-300 ? 0 : p * Math.log(p / q);
}
