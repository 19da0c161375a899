/** Trains a small convolutional network for 20 steps on the backend that is named; prints the last loss, and on what. */
import * as tf from '@tensorflow/tfjs';
import { selectBackend } from '../../src/compute/backend.js';
import { batchNormalise } from '../../src/compute/operations/batch-normalise.js';
import { conv2d } from '../../src/compute/operations/conv2d.js';
import { dense } from '../../src/compute/operations/dense.js';
import { maxPool2d } from '../../src/compute/operations/max-pool2d.js';
import { softmaxCrossEntropy } from '../../src/compute/operations/softmax-cross-entropy.js';
import { adamWStep } from '../../src/compute/optimizer-step.js';
import { loadNative } from '../../src/compute/tensorflow/load-native.js';
import type { Flavour } from '../../src/compute/tensorflow/native-folder.js';
import { createRandom } from '../../src/core/random.js';

const [classes, batch, side, channels] = [10, 32, 8, 8];

// A build for GPUs is loaded where there is none, too: it then computes on the processor.
const name = process.argv[2] as 'wasm' | Flavour;
const { usesGpu } = name === 'wasm' ? { usesGpu: false } : await loadNative(name);
if (name === 'wasm') await selectBackend(name);
const random = createRandom(1, 'native');
const normal = (shape: number[], deviation: number) =>
  tf.tensor(
    Float32Array.from({ length: tf.util.sizeFromShape(shape) }, () => deviation * random.normal()),
    shape,
  );
const labels = tf.tensor1d(
  Int32Array.from({ length: batch }, (_, row) => row % classes),
  'int32',
);
const images = normal([batch, side, side, 1], 1) as tf.Tensor4D;
const width = (side / 2) ** 2 * channels;
const filter = tf.variable(normal([3, 3, 1, channels], 0.3)) as tf.Variable<tf.Rank.R4>;
const gamma = tf.variable(tf.ones([channels])) as tf.Variable<tf.Rank.R1>;
const beta = tf.variable(tf.zeros([channels])) as tf.Variable<tf.Rank.R1>;
const weights = tf.variable(normal([width, classes], 0.05)) as tf.Variable<tf.Rank.R2>;
const bias = tf.variable(tf.zeros([classes])) as tf.Variable<tf.Rank.R1>;
const variables: tf.Variable[] = [filter, gamma, beta, weights, bias];
const moments = variables.map((variable) => ({
  first: tf.variable(tf.zerosLike(variable)),
  second: tf.variable(tf.zerosLike(variable)),
}));

function loss(): tf.Scalar {
  const convolved = conv2d(images, filter, { inputGradient: false });
  const { output } = batchNormalise(convolved, gamma, beta, { activation: 'relu' });
  const pooled = maxPool2d(output as tf.Tensor4D);
  const features = tf.reshape(pooled, [batch, width]) as tf.Tensor2D;
  return softmaxCrossEntropy(dense(features, weights, bias), labels, { labelSmoothing: 0.05 });
}

let last = Number.NaN;
for (let step = 1; step <= 20; step++) {
  const { value, grads } = tf.variableGrads(loss, variables);
  variables.forEach((variable, index) => {
    const [gradient, moment] = [grads[variable.name], moments[index]];
    if (!gradient || !moment) throw new Error(`no gradient of ${variable.name}`);
    adamWStep(variable, gradient, moment, { learningRate: 0.01, weightDecay: 0.01, step });
  });
  last = value.dataSync()[0] ?? Number.NaN;
}
console.log(JSON.stringify({ loss: last, usesGpu }));
