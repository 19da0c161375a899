import { createHash } from 'node:crypto';
import { xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';

/** A seeded source of random numbers; the same seed gives the same numbers on every machine. */
export interface Random {
  /** An integer in [0, 2^32). */
  uint32(): number;
  /** A number in [0, 1), with 32 random bits. */
  uniform(): number;
  /** An integer in [0, bound), without bias. `bound` lies in [1, 2^32]. */
  below(bound: number): number;
  /** A sample of the standard normal distribution (Box-Muller). */
  normal(): number;
  /** Shuffles in place (Fisher-Yates) and returns the same array. */
  shuffle<T extends { length: number; [index: number]: unknown }>(items: T): T;
}

/**
 * A stream of random numbers named by its labels: streams with different labels are independent.
 *
 * Deriving a stream by name, instead of drawing all numbers from one stream, makes every consumer
 * reproducible on its own: image 7 of epoch 3 is degraded alike whatever was drawn before it.
 *
 * @param labels the seed and whatever names the stream, e.g. `(seed, 'degrade', epoch, row)`
 *
 * @example
 * const random = createRandom(1, 'shuffle', 0);
 * random.below(6); // 5
 */
export function createRandom(...labels: readonly (number | string)[]): Random {
  const digest = createHash('sha256').update(JSON.stringify(labels)).digest();
  const words = [0, 4, 8, 12].map((offset) => digest.readInt32LE(offset));
  const generator = xoroshiro128plusFromState(words);

  const uint32 = () => generator.next() >>> 0;
  const uniform = () => uint32() / 0x1_0000_0000;

  function below(bound: number): number {
    const limit = 0x1_0000_0000 - (0x1_0000_0000 % bound);
    let value = uint32();
    while (value >= limit) value = uint32();
    return value % bound;
  }

  let spare: number | undefined;
  function normal(): number {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  function shuffle<T extends { length: number; [index: number]: unknown }>(items: T): T {
    for (let last = items.length - 1; last > 0; last--) {
      const other = below(last + 1);
      const item = items[last];
      items[last] = items[other];
      items[other] = item;
    }
    return items;
  }

  return { uint32, uniform, below, normal, shuffle };
}

/**
 * Draws a subset of {0, ..., universe - 1} of a given size, every subset being as likely (Floyd's algorithm).
 *
 * @param count size of the subset, at most `universe`
 * @param below an integer in [0, bound), every one as likely
 * @returns (count) distinct integers, in no particular order. Cost: `count` draws, whatever the universe.
 * @see Bentley and Floyd, Programming Pearls: A Sample of Brilliance, CACM 30(9), 1987
 */
export function randomSubset(count: number, universe: number, below: (bound: number) => number): Int32Array {
  const chosen = new Set<number>();
  for (let largest = universe - count; largest < universe; largest++) {
    const candidate = below(largest + 1);
    chosen.add(chosen.has(candidate) ? largest : candidate);
  }
  return Int32Array.from(chosen);
}

/**
 * The seed of what is made for one of many, such as the training of a specialist; without an id, of what they share.
 *
 * @param id whole, from 0 to 1,000,002, so that no two pairs of seed and id give the same
 */
export function derivedSeed(seed: number, id = 0): number {
  return seed * 1_000_003 + id;
}
