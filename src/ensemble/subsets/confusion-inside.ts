import type { CsrMatrix } from '../../math/csr.js';
import { confusionMasses } from '../confusion/confusion-masses.js';
import type { Subset } from './subsets.js';

/**
 * For each subset, the share of its classes' confusion that is with one another: what its specialist can mend. The
 * rest is with classes that it does not know.
 *
 *     inside_m = sum over i ≠ j in m of max(0, a_ij) / sum over i in m, j ≠ i of max(0, a_ij)
 *
 * @param columns (classes, classes), from `classColumns`
 * @returns (subsets), 0 for a subset of classes that nothing is confused with; cost O(entries x subsets a class is in)
 */
export function confusionInsideEach(subsets: readonly Subset[], columns: CsrMatrix): number[] {
  const { offsets, indices, values } = columns;
  const massOf = confusionMasses(columns);
  return subsets.map(({ classes }) => {
    const members = new Set(classes);
    let all = 0;
    let inside = 0;
    for (const i of classes) {
      all += massOf[i];
      for (let k = offsets[i]; k < offsets[i + 1]; k++) {
        const j = indices[k];
        if (j !== i && members.has(j)) inside += Math.max(0, values[k]);
      }
    }
    return all > 0 ? inside / all : 0;
  });
}
