import * as tf from '@tensorflow/tfjs';
import { softmaxCrossEntropy } from '../../../src/compute/operations/softmax-cross-entropy.js';
import { createRandom } from '../../../src/core/random.js';
import { createNetwork } from '../../../src/models/network.js';
import { runNetwork } from '../../../src/models/run-network.js';
import { Optimizer } from '../../../src/training/optimizer.js';
import { batchSize, generalistDefinition, inputShape, randomBatch, type Workload } from './workload.js';

/** A training step as `train` takes it, on the backend in force. */
export function ourStep(workload: Workload): () => void {
  const { outputs, from } = workload;
  const network = createNetwork(generalistDefinition(outputs), createRandom('network'));
  const optimizer = new Optimizer('adamw', network, from);
  const { inputs, labels } = randomBatch(workload);
  const shape = [batchSize, ...inputShape(workload)];
  let step = 0;
  return () => {
    const loss = tf.tidy(() => {
      const input = tf.tensor(inputs, shape);
      const { value, grads } = tf.variableGrads(() => {
        const logits = runNetwork(network, input, { from, training: { dropoutSeed: step } });
        return softmaxCrossEntropy(logits, tf.tensor1d(labels, 'int32'));
      }, [...optimizer.parameters]);
      optimizer.apply(grads, { step, learningRate: 1e-3, weightDecay: 0.01 });
      return value;
    });
    step++;
    loss.dispose();
  };
}
