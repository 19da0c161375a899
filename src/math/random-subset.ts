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
