import type { Operations, Scalar, Tensor2D } from '../../compute/operations.js';
import type { Candidates } from './candidates.js';

/**
 * The cross-entropy of a softmax over all classes, estimated from those that were sampled.
 *
 * A class that was drawn with probability `pi` stands for `1 / pi` classes: `Z = sum over candidates of exp(z_j) / pi_j`
 * is an unbiased estimate of the softmax's denominator, and `z_j - log pi_j` in place of `z_j` computes it. With
 * smoothing `s` the sum over all classes in `loss = log Z - (1 - s) z_label - s / C sum_j z_j` is estimated alike. When
 * every class is a candidate this is the full softmax.
 *
 * @param logits (batch, candidates), uncorrected
 * @param options.classes C, of the whole softmax
 * @returns a scalar, in nats
 * @see Bengio and Senécal, Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
 * Model, 2008; Jean et al., On Using Very Large Target Vocabulary for Neural Machine Translation, arXiv 1412.2007,
 * section 3
 */
export function sampledCrossEntropy(
  operations: Operations,
  logits: Tensor2D,
  { positions, certain, inclusion, classes: { length: count } }: Candidates,
  { classes, labelSmoothing }: { readonly classes: number; readonly labelSmoothing: number },
): Scalar {
  const correction = new Float32Array(count).fill(-Math.log(inclusion), certain); // (candidates)
  const corrected = operations.add(logits, operations.tensor(correction, [count]));
  const labels = operations.tensor(positions, [positions.length]);
  const hard = operations.softmaxCrossEntropy(corrected, labels);
  if (labelSmoothing === 0) return hard;
  const spread = new Float32Array(count).fill(1 / classes).fill(1 / (classes * inclusion), certain);
  const own = operations.oneHot(labels, count); // (batch, candidates)
  const lessSpread = operations.sub(own, operations.tensor(spread, [count]));
  const moved = operations.sum(operations.mul(logits, lessSpread));
  return operations.add(hard, operations.mul(moved, labelSmoothing / positions.length));
}
