import { createRandom } from '../../src/core/random.js';

/** Classes in groups that are confused with each other: what a clustering is to find again. */
export interface PlantedGroups {
  readonly groupOf: Int32Array; // (classes)
  /** A class of the given one's group, or with probability `1 - inside` any class. */
  confuse(label: number, inside: number): number;
  readonly random: ReturnType<typeof createRandom>;
}

/**
 * Plants groups of uneven sizes: from 0.2 to 1.2 shares, drawn at random, so that they differ up to sixfold.
 *
 * The classes of a group are numbered at random, so that no order of the rows gives them away.
 */
export function plantGroups(classes: number, groups: number, seed = 1): PlantedGroups {
  const random = createRandom(seed, 'planted-groups', classes, groups);
  const shares = Float64Array.from({ length: groups }, () => 0.2 + random.uniform());
  const total = shares.reduce((sum, share) => sum + share, 0);
  const bounds = new Int32Array(groups + 1);
  for (let group = 0, sum = 0; group < groups; group++) {
    sum += shares[group];
    bounds[group + 1] = Math.round((classes * sum) / total);
  }
  const names = random.shuffle(Int32Array.from({ length: classes }, (_, position) => position));
  const groupOf = new Int32Array(classes);
  for (let group = 0; group < groups; group++) {
    for (let position = bounds[group]; position < bounds[group + 1]; position++) {
      groupOf[names[position]] = group;
    }
  }
  return {
    groupOf,
    random,
    confuse(label, inside) {
      if (random.uniform() >= inside) return random.below(classes);
      const first = bounds[groupOf[label]];
      return names[first + random.below(bounds[groupOf[label] + 1] - first)];
    },
  };
}

/** Agreement of two labellings: 1 for the same partition, 0 on average for random ones (Hubert and Arabie 1985). */
export function adjustedRandIndex(a: Int32Array, b: Int32Array): number {
  const pairs = (keys: Float64Array) => {
    let sum = 0;
    for (let k = 0, run = 0; k < keys.length; k++) {
      run = k > 0 && keys[k] === keys[k - 1] ? run + 1 : 0;
      sum += run; // a key that comes n times adds 0 + 1 + ... + (n - 1)
    }
    return sum;
  };
  const rows = pairs(Float64Array.from(a).sort());
  const columns = pairs(Float64Array.from(b).sort());
  const both = pairs(Float64Array.from(a, (label, k) => (label + 1) * 2 ** 32 + b[k]).sort());
  const expected = (rows * columns) / ((a.length * (a.length - 1)) / 2);
  return (both - expected) / ((rows + columns) / 2 - expected);
}
