import type { Random } from '../../core/random.js';
import type { ClassTree } from './class-tree.js';

/** How labels go wrong: with probability `rate`, to a sibling with probability `siblingShare`, else to any class. */
export interface LabelNoise {
  readonly rate: number;
  readonly siblingShare: number;
}

/**
 * The label that an annotator gives to an image of a class.
 *
 * A wrong label is uniform over the other classes of the genus, or over all other classes; a class without
 * siblings is only mistaken for any class.
 */
export function annotate(label: number, tree: ClassTree, noise: LabelNoise, random: Random): number {
  if (random.uniform() >= noise.rate) return label;
  const { start, end } = tree.genera[tree.genusOf[label]];
  const toSibling = random.uniform() < noise.siblingShare && end - start > 1;
  const wrong = toSibling ? start + random.below(end - start - 1) : random.below(tree.classes - 1);
  return wrong >= label ? wrong + 1 : wrong;
}

/**
 * The distribution of the annotated label, from that of the class: what {@link annotate} does, summed over
 * exactly.
 *
 *     P(l) = (1 - r) p_l + r s (p(genus of l) - p_l) / (|genus| - 1) + sum over k != l of r (1 - s_k) p_k / (C - 1)
 *
 * where s_k is s, or 0 for a class without siblings.
 *
 * @param probabilities shape (classes), sums to 1
 * @returns shape (classes), sums to 1
 */
export function annotatedDistribution(
  probabilities: Float64Array,
  tree: ClassTree,
  { rate, siblingShare }: LabelNoise,
): Float64Array {
  const annotated = new Float64Array(tree.classes);
  // What classes send to all others: a class without siblings sends all of its errors there.
  let strayMass = 0;
  const stray = (genusSize: number) => (rate * (genusSize > 1 ? 1 - siblingShare : 1)) / (tree.classes - 1);
  for (const { start, end } of tree.genera) {
    for (let k = start; k < end; k++) strayMass += stray(end - start) * probabilities[k];
  }
  for (const { start, end } of tree.genera) {
    const siblings = end - start - 1;
    let genusMass = 0;
    for (let k = start; k < end; k++) genusMass += probabilities[k];
    for (let k = start; k < end; k++) {
      const own = probabilities[k];
      const fromSiblings = siblings > 0 ? (rate * siblingShare * (genusMass - own)) / siblings : 0;
      annotated[k] = (1 - rate) * own + fromSiblings + strayMass - stray(end - start) * own;
    }
  }
  return annotated;
}
