import * as tf from '@tensorflow/tfjs';
import { dense } from '../../compute/operations/dense.js';
import { assert } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import type { Network } from '../../models/network.js';
import type { NetworkPart } from '../../models/network-definition.js';
import { runNetwork } from '../../models/run-network.js';
import type { Optimizer } from '../optimizer.js';
import { drawCandidates } from './candidates.js';
import { decayRows, gatherRows, type RowStep, updateRows } from './head-rows.js';
import { sampledCrossEntropy } from './sampled-cross-entropy.js';

/** One step of a sampled softmax. */
export interface SampledStep extends RowStep {
  /** The first trained part of the network, whose input `inputs` is. */
  readonly from: NetworkPart;
  /** Names the random choices of the whole training. */
  readonly seed: number;
  readonly dropoutSeed: number;
  readonly labelSmoothing: number;
  /** How many classes take part. */
  readonly count: number;
}

/**
 * One update by a sampled softmax; returns the loss, still on the backend.
 *
 * The candidates' rows of the head go to the backend and their gradient comes back, so that nothing in a step has
 * the size of the whole head.
 *
 * @param labels (batch), outputs of the network
 */
export function sampledTrainingStep(
  network: Network,
  optimizer: Optimizer,
  input: tf.Tensor,
  labels: Int32Array,
  { from, seed, dropoutSeed, labelSmoothing, count, ...now }: SampledStep,
): tf.Scalar {
  const { headRows: rows } = optimizer;
  assert(rows !== undefined, 'a sampled step needs the head in rows');
  const { classes } = rows;
  const random = createRandom(seed, 'candidates', now.step);
  const candidates = drawCandidates(labels, { classes, count: Math.min(count, classes), random });
  decayRows(rows, now, candidates.classes);
  const gathered = gatherRows(rows, candidates.classes);
  return tf.tidy(() => {
    const weights = tf.tensor2d(gathered.weights, [rows.width - 1, candidates.classes.length]).variable();
    const bias = tf.tensor1d(gathered.bias).variable();
    try {
      const { value, grads } = tf.variableGrads(() => {
        const hidden = runNetwork(network, input, { from, to: 'dense', training: { dropoutSeed } });
        const logits = dense(hidden, weights as tf.Tensor2D, bias as tf.Tensor1D, {
          inputGradient: from !== 'head',
        });
        return sampledCrossEntropy(logits, candidates, { classes, labelSmoothing });
      }, [...optimizer.parameters, weights, bias]);
      optimizer.apply(grads, now);
      const [dWeights, dBias] = [weights, bias].map(({ name }) => grads[name].dataSync<'float32'>());
      updateRows(rows, candidates.classes, { weights: dWeights, bias: dBias }, now);
      return value;
    } finally {
      tf.dispose([weights, bias]);
    }
  });
}
