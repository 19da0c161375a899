import type { Operations, Tensor, Tensor2D } from '../../compute/operations.js';
import { runNetwork } from '../../models/run-network.js';
import { firstTrainedPart, type Specialist } from './specialist.js';

/**
 * What a specialist says, before its dustbin's correction: a logit for each class of the subset and the dustbin's.
 *
 *     z_dustbin = log sum over i outside S of exp(z_i)
 *
 * in a full head: the softmax of what is returned is then its softmax over all classes, summed outside S. All that
 * comes after it (routing, fusion, calibration, report) need not know which head there is.
 *
 * @param input of the first part that the specialist trained, (images, ...)
 * @returns (images, s + 1), the dustbin last
 */
export function specialistLogits({ config, network }: Specialist, input: Tensor): Tensor2D {
  const from = firstTrainedPart[config.retrain];
  if (config.head === 'dustbin') return runNetwork(network, input, { from });
  const { operations } = network;
  return operations.tidy(() => {
    const logits = runNetwork(network, input, { from });
    return collapseLogits(operations, logits, config.classes.length);
  });
}

/** The logits of a full head, (images, classes), with the outputs after the first `inside` as one, (images, inside + 1). */
export function collapseLogits(operations: Operations, logits: Tensor2D, inside: number): Tensor2D {
  return operations.tidy(() => {
    const dustbin = operations.rowLogSumExps(operations.columnRange(logits, inside)); // (images)
    const column = operations.reshape(dustbin, [dustbin.size, 1]);
    return operations.concat<Tensor2D>([operations.columnRange(logits, 0, inside), column], 1);
  });
}
