import { assert } from '../core/errors.js';

/**
 * The Kullback-Leibler divergence of two distributions, in nats.
 *
 * KL(p || q) = sum_i p_i log(p_i / q_i), where 0 log 0 = 0
 *
 * @param p (n), sums to 1
 * @param q (n), sums to 1
 * @returns at least 0 up to rounding; Infinity where q lacks an outcome that p has; cost O(n)
 *
 * @example
 * klDivergence([1, 0], [0.5, 0.5]); // log 2
 */
export function klDivergence(p: ArrayLike<number>, q: ArrayLike<number>): number {
  assert(p.length === q.length, `KL divergence of ${p.length} and ${q.length} outcomes`);
  let divergence = 0;
  for (let index = 0; index < p.length; index++) {
    if (p[index] > 0) divergence += p[index] * Math.log(p[index] / q[index]);
  }
  return divergence;
}
