import {
  checkClass,
  checkedSum,
  checkLengths,
  checkSum,
  checkWeight,
  noClassOutside,
  notAProbability,
  type Probabilities,
  repeatedClass,
  type SpecialistAnswer,
  sumOfMasses,
} from './fusion-input.js';
import { rescale } from './fusion-rescale.js';

/**
 * The fusion with one active specialist, by its closed form.
 *
 *     q_i = (w_g p^g_i + w p^1_i) / (w_g + w)   for i in S,   p^g scaled to the remaining mass elsewhere
 *
 * The general solution gives the same; this one needs no groups of classes, and no memory for them.
 *
 * @param generalist (classes)
 * @param out (classes), where q is written
 * @param seen (classes or more), -1 everywhere; left at 0 or more for the classes of the subset
 * @throws KdSpecError `fusion-input`, as `fuse` does
 *
 * Cost: a copy, a sum and a scaling of the classes, and two passes over the subset.
 */
export function fuseOne(
  generalist: Probabilities,
  specialist: SpecialistAnswer,
  generalistWeight = 1,
  out: Float64Array,
  seen: Int32Array,
): void {
  const { classes, probabilities, weight = 1 } = specialist;
  const owner = 'specialist 0';
  const totalWeight = checkWeight(generalistWeight, 'the generalist') + checkWeight(weight, owner);
  checkLengths(specialist, owner);
  const specialistScale = weight / totalWeight / checkedSum(probabilities, owner);

  out.set(generalist);
  let subsetSum = 0;
  for (let i = 0; i < classes.length; i++) {
    const c = checkClass(classes[i], generalist.length, owner);
    if (seen[c] >= 0) throw repeatedClass(owner, c);
    if (!(generalist[c] >= 0)) throw notAProbability('the generalist', c, generalist[c]);
    seen[c] = i;
    subsetSum += generalist[c];
    out[c] = 0;
  }
  const bucket = sumOfMasses(out, 'the generalist'); // summed, because 1 - subset would cancel
  const generalistScale = generalistWeight / totalWeight / checkSum(bucket + subsetSum, 'the generalist');
  const dustbin = specialistScale * probabilities[classes.length];
  if (bucket === 0 && dustbin > 0) throw noClassOutside(owner);

  rescale(out, bucket, generalistScale * bucket + dustbin);
  for (let i = 0; i < classes.length; i++) {
    out[classes[i]] = generalistScale * generalist[classes[i]] + specialistScale * probabilities[i];
  }
}
