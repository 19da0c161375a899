import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { asTf } from '../../../test/support/operations.js';
import { selectBackend } from '../../compute/backend.js';
import { createRandom } from '../../core/random.js';
import { drawCandidates } from './candidates.js';
import { sampledCrossEntropy } from './sampled-cross-entropy.js';

const { operations } = await selectBackend('wasm');

const normals = (random: ReturnType<typeof createRandom>, length: number) =>
  Float32Array.from({ length }, () => 2 * random.normal());

/** Loss and its gradient by the logits of all classes. */
function sampled(
  logits: Float32Array,
  labels: Int32Array,
  { classes, count, labelSmoothing, seed }: Record<'classes' | 'count' | 'labelSmoothing' | 'seed', number>,
) {
  return tf.tidy(() => {
    const candidates = drawCandidates(labels, { classes, count, random: createRandom(seed) });
    const all = tf.tensor2d(logits, [labels.length, classes]);
    const chosen = tf.cast(tf.oneHot(tf.tensor1d(candidates.classes, 'int32'), classes), 'float32');
    const { value, grad } = tf.valueAndGrad((z: tf.Tensor) =>
      asTf(
        sampledCrossEntropy(
          operations,
          asTf<tf.Tensor2D>(tf.matMul(z as tf.Tensor2D, chosen, false, true)),
          candidates,
          { classes, labelSmoothing },
        ),
      ),
    )(all);
    return { loss: value.dataSync()[0], gradient: grad.dataSync<'float32'>().slice() };
  });
}

function full(logits: Float32Array, labels: Int32Array, classes: number, labelSmoothing: number) {
  return tf.tidy(() => {
    const { value, grad } = tf.valueAndGrad((z: tf.Tensor) =>
      asTf(
        operations.softmaxCrossEntropy(z as tf.Tensor2D, tf.tensor1d(labels, 'int32'), { labelSmoothing }),
      ),
    )(tf.tensor2d(logits, [labels.length, classes]));
    return { loss: value.dataSync()[0], gradient: grad.dataSync<'float32'>().slice() };
  });
}

test('with every class a candidate it is the full softmax, and so is its gradient', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 40 }),
      fc.integer({ min: 1, max: 9 }),
      fc.constantFrom(0, 0.1, 0.5),
      fc.nat(),
      (classes, batch, labelSmoothing, seed) => {
        const random = createRandom('full', seed);
        const logits = normals(random, batch * classes);
        const labels = Int32Array.from({ length: batch }, () => random.below(classes));
        const estimate = sampled(logits, labels, { classes, count: classes, labelSmoothing, seed });
        const exact = full(logits, labels, classes, labelSmoothing);
        expect(estimate.loss).toBeCloseTo(exact.loss, 4);
        estimate.gradient.forEach((value, at) => {
          expect(value).toBeCloseTo(exact.gradient[at], 5);
        });
      },
    ),
    { numRuns: 40 },
  );
});

test('over many draws the denominator, and what smoothing adds, come out right on average', () => {
  const [classes, count, draws] = [30, 12, 1200];
  const random = createRandom('unbiased');
  const logits = normals(random, classes);
  const labels = Int32Array.of(7);
  const denominator = (loss: number) => Math.exp(loss + logits[7]);
  const estimates: number[] = [];
  const smoothing: number[] = [];
  for (let seed = 0; seed < draws; seed++) {
    const hard = sampled(logits, labels, { classes, count, labelSmoothing: 0, seed }).loss;
    const smooth = sampled(logits, labels, { classes, count, labelSmoothing: 0.3, seed }).loss;
    estimates.push(denominator(hard));
    smoothing.push(smooth - hard);
  }
  const exact = full(logits, labels, classes, 0).loss;
  expectMean(estimates, denominator(exact));
  expectMean(smoothing, full(logits, labels, classes, 0.3).loss - exact);
});

/** Whether a mean is what it should be, to four standard errors. */
function expectMean(values: readonly number[], expected: number): void {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  expect(Math.abs(mean - expected)).toBeLessThan(4 * Math.sqrt(variance / values.length));
}

test('with more candidates the gradient comes nearer to that of the full softmax', () => {
  const classes = 400;
  const random = createRandom('nearer');
  const logits = normals(random, 4 * classes);
  const labels = Int32Array.of(1, 50, 50, 399);
  const exact = full(logits, labels, classes, 0).gradient;
  const distance = (count: number) => {
    const errors = Array.from({ length: 20 }, (_, seed) => {
      const { gradient } = sampled(logits, labels, { classes, count, labelSmoothing: 0, seed });
      return Math.hypot(...gradient.map((value, at) => value - exact[at]));
    });
    return errors.reduce((sum, error) => sum + error, 0);
  };
  const distances = [20, 80, 320, 400].map(distance);
  expect(distances).toEqual(distances.toSorted((a, b) => b - a));
  expect(distances[3]).toBeLessThan(1e-4);
});
