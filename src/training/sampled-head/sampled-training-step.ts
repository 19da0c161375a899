import type { Scalar } from '../../compute/operations.js';
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
 * @param batch what the first trained part takes, and labels (batch), outputs of the network
 */
export async function sampledTrainingStep(
  network: Network,
  optimizer: Optimizer,
  {
    inputs,
    shape,
    labels,
  }: { readonly inputs: Float32Array; readonly shape: readonly number[]; readonly labels: Int32Array },
  { from, seed, dropoutSeed, labelSmoothing, count, ...now }: SampledStep,
): Promise<Scalar> {
  const { headRows: rows } = optimizer;
  assert(rows !== undefined, 'a sampled step needs the head in rows');
  const { classes } = rows;
  const random = createRandom(seed, 'candidates', now.step);
  const candidates = drawCandidates(labels, { classes, count: Math.min(count, classes), random });
  decayRows(rows, now, candidates.classes);
  const gathered = gatherRows(rows, candidates.classes);
  const { operations } = network;
  const weights = operations.variable(gathered.weights, [rows.width - 1, candidates.classes.length]);
  const bias = operations.variable(gathered.bias, [candidates.classes.length]);
  try {
    const [loss, ...ofHead] = operations.tidy(() => {
      const input = operations.tensor(inputs, shape);
      const { value, gradients } = operations.valueAndGradients(() => {
        const hidden = runNetwork(network, input, { from, to: 'dense', training: { dropoutSeed } });
        const logits = operations.dense(hidden, weights, bias, { inputGradient: from !== 'head' });
        return sampledCrossEntropy(operations, logits, candidates, { classes, labelSmoothing });
      }, [...optimizer.parameters, weights, bias]);
      optimizer.apply(gradients, now);
      return [value, ...gradients.slice(optimizer.parameters.length)];
    });
    const [dWeights, dBias] = await Promise.all(ofHead.map((gradient) => operations.read(gradient)));
    operations.dispose(ofHead);
    updateRows(rows, candidates.classes, { weights: dWeights, bias: dBias }, now);
    return loss;
  } finally {
    operations.dispose([weights, bias]);
  }
}
