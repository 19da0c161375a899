import type { Operations } from '../../../src/compute/operations.js';
import { createRandom } from '../../../src/core/random.js';
import { createNetwork } from '../../../src/models/network.js';
import { runNetwork } from '../../../src/models/run-network.js';
import { Optimizer } from '../../../src/training/optimizer.js';
import { batchSize, generalistDefinition, inputShape, randomBatch, type Workload } from './workload.js';

/** A training step as `train` takes it. */
export function ourStep(operations: Operations, workload: Workload): () => void {
  const { outputs, from } = workload;
  const network = createNetwork(operations, generalistDefinition(outputs), createRandom('network'));
  const optimizer = new Optimizer('adamw', network, from);
  const { inputs, labels } = randomBatch(workload);
  const shape = [batchSize, ...inputShape(workload)];
  let step = 0;
  return () => {
    const loss = operations.tidy(() => {
      const input = operations.tensor(inputs, shape);
      const { value, gradients } = operations.valueAndGradients(() => {
        const logits = runNetwork(network, input, { from, training: { dropoutSeed: step } });
        return operations.softmaxCrossEntropy(logits, operations.tensor(labels, [labels.length]));
      }, optimizer.parameters);
      optimizer.apply(gradients, { step, learningRate: 1e-3, weightDecay: 0.01 });
      return value;
    });
    step++;
    loss.dispose();
  };
}
