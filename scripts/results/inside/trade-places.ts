import { createRandom } from '../../../src/core/random.js';
import type { Subset } from '../../../src/ensemble/subsets/subsets.js';

/**
 * Subsets after a share of the classes that they cover, drawn at random, traded places: each takes those of another. Sizes
 * and overlaps stay as they are, and so do the classes that any subset covers.
 *
 * @param share from 0 to 1
 */
export function tradePlaces(subsets: readonly Subset[], share: number, seed: number): Subset[] {
  const covered = [...new Set(subsets.flatMap(({ classes }) => classes))];
  const random = createRandom(seed, 'trade places');
  const moved = random.shuffle(covered).slice(0, Math.round(share * covered.length));
  const takes = new Map(moved.map((label, place) => [label, moved[(place + 1) % moved.length]]));
  return subsets.map(({ id, classes }) => ({
    id,
    classes: classes.map((label) => takes.get(label) ?? label),
  }));
}
