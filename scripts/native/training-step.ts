/** Trains a small convolutional network for 20 steps on the backend that is named; prints the last loss, and on what. */
import { selectBackend } from '../../src/compute/backend.js';
import type { Operations, Scalar, Variable } from '../../src/compute/operations.js';
import { loadNative } from '../../src/compute/tensorflow/load-native.js';
import type { Flavour } from '../../src/compute/tensorflow/native-package.js';
import { createRandom } from '../../src/core/random.js';

const [classes, batch, side, channels] = [10, 32, 8, 8];

const operations = await load(process.argv[2] as 'wasm' | Flavour);
const random = createRandom(1, 'native');
const draw = (length: number, deviation: number) =>
  Float32Array.from({ length }, () => deviation * random.normal());
const labels = Int32Array.from({ length: batch }, (_, row) => row % classes);
const images = draw(batch * side * side, 1);
const width = (side / 2) ** 2 * channels;
const vector = (length: number, value: number) =>
  operations.variable(new Float32Array(length).fill(value), [length]);
const filter = operations.variable(draw(9 * channels, 0.3), [3, 3, 1, channels]);
const [scale, shift] = [vector(channels, 1), vector(channels, 0)];
const [mean, variance] = [vector(channels, 0), vector(channels, 1)];
const weights = operations.variable(draw(width * classes, 0.05), [width, classes]);
const bias = vector(classes, 0);
const variables: readonly Variable[] = [filter, scale, shift, weights, bias];
const moments = variables.map(({ shape, size }) => ({
  first: operations.variable(new Float32Array(size), shape),
  second: operations.variable(new Float32Array(size), shape),
}));

function loss(): Scalar {
  const x = operations.tensor(images, [batch, side, side, 1]);
  const convolved = operations.conv2d(x, filter, { inputGradient: false });
  const tensors = { scale, bias: shift, mean, variance };
  const pooled = operations.maxPool2d(operations.batchNormalise(convolved, tensors, { activation: 'relu' }));
  const features = operations.reshape(pooled, [batch, width]);
  const y = operations.tensor(labels, [batch]);
  return operations.softmaxCrossEntropy(operations.dense(features, weights, bias), y, {
    labelSmoothing: 0.05,
  });
}

let last = Number.NaN;
for (let step = 1; step <= 20; step++) {
  const value = operations.tidy(() => {
    const { value, gradients } = operations.valueAndGradients(loss, variables);
    variables.forEach((variable, index) => {
      const options = { learningRate: 0.01, weightDecay: 0.01, step };
      operations.adamWStep(variable, gradients[index], moments[index], options);
    });
    return value;
  });
  [last] = await operations.read(value);
  value.dispose();
}
console.log(JSON.stringify({ loss: last, usesGpu: operations.backend === 'tensorflow-gpu' }));

/** A build for GPUs is loaded where there is none, too: it then computes on the processor. */
async function load(name: 'wasm' | Flavour): Promise<Operations> {
  if (name === 'wasm') return (await selectBackend(name)).operations;
  const loaded = await loadNative(name);
  if ('missing' in loaded) throw new Error(loaded.missing);
  return loaded;
}
