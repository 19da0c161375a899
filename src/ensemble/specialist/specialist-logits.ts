import * as tf from '@tensorflow/tfjs';
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
export function specialistLogits({ config, network }: Specialist, input: tf.Tensor): tf.Tensor2D {
  const from = firstTrainedPart[config.retrain];
  if (config.head === 'dustbin') return runNetwork(network, input, { from });
  return tf.tidy(() => collapseLogits(runNetwork(network, input, { from }), config.classes.length));
}

/** The logits of a full head, (images, classes), with the outputs after the first `inside` as one, (images, inside + 1). */
export function collapseLogits(logits: tf.Tensor2D, inside: number): tf.Tensor2D {
  return tf.tidy(() => {
    const dustbin = tf.logSumExp(tf.slice(logits, [0, inside]), 1, true); // (images, 1)
    return tf.concat2d([tf.slice(logits, [0, 0], [-1, inside]), dustbin as tf.Tensor2D], 1);
  });
}
