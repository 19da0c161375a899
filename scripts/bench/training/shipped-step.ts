import * as tf from '@tensorflow/tfjs';
import { batchSize, generalistDefinition, inputShape, randomBatch, type Workload } from './workload.js';

/** The same training step in TensorFlow.js's layers API, on the backend in force. */
export function shippedStep(workload: Workload): () => Promise<void> {
  const { convolutions, kernel, dense } = generalistDefinition(workload.outputs);
  const { layers } = tf;
  const model = tf.sequential();
  const shape = [...inputShape(workload)];
  const activated = (size: 'image' | 'vector') => {
    model.add(layers.batchNormalization());
    model.add(layers.reLU());
    if (size === 'image') model.add(layers.maxPooling2d({ poolSize: 2 }));
  };
  model.add(layers.inputLayer({ inputShape: shape }));
  if (workload.from === 'convolutions') {
    for (const filters of convolutions) {
      model.add(layers.conv2d({ filters, kernelSize: kernel, padding: 'same', useBias: false }));
      activated('image');
    }
    model.add(layers.flatten());
  }
  for (const units of dense) {
    model.add(layers.dense({ units, useBias: false }));
    activated('vector');
  }
  model.add(layers.dense({ units: workload.outputs, activation: 'softmax' }));
  model.compile({ optimizer: tf.train.adam(1e-3), loss: 'categoricalCrossentropy' });
  const { inputs, labels } = randomBatch(workload);
  const targets = tf.tidy(() =>
    tf.cast(tf.oneHot(tf.tensor1d(labels, 'int32'), workload.outputs), 'float32'),
  );
  return async () => {
    const input = tf.tensor(inputs, [batchSize, ...shape]);
    await model.trainOnBatch(input, targets);
    input.dispose();
  };
}
