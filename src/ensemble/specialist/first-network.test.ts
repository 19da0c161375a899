import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { asTf, scaleHead } from '../../../test/support/operations.js';
import { selectBackend } from '../../compute/backend.js';
import { createRandom } from '../../core/random.js';
import { createNetwork } from '../../models/network.js';
import type { NetworkDefinition } from '../../models/network-definition.js';
import { runNetwork } from '../../models/run-network.js';
import { collapseGeneralist, fitDustbinRow } from './first-network.js';

const { operations } = await selectBackend('wasm');

const definition: NetworkDefinition = {
  input: { height: 4, width: 3, channels: 1 },
  convolutions: [],
  kernel: 3,
  dense: [7],
  normalisation: 'none',
  dropout: 0,
  outputs: 9,
};

/** log sum exp in double precision. */
function logSumExp(values: readonly number[]): number {
  const largest = Math.max(...values);
  return largest + Math.log(values.reduce((sum, value) => sum + Math.exp(value - largest), 0));
}

test.each([
  ['around zero', 1],
  ['so large that their exponentials overflow', 400],
])('log-sum-exps inside and outside a subset, of logits %s', async (_, scale) => {
  const random = createRandom(5, scale);
  const generalist = createNetwork(operations, definition, random);
  await scaleHead(generalist, scale);
  const batches = [4, 1].map((size) => ({
    shape: [size, 4, 3, 1] as const,
    inputs: Float32Array.from({ length: size * 12 }, () => random.uniform()),
  }));
  async function* stream() {
    yield* batches;
  }
  const classes = [2, 5, 6];
  const tensorsBefore = tf.memory().numTensors;
  const sample = await collapseGeneralist(generalist, stream(), classes);
  expect(tf.memory().numTensors).toBe(tensorsBefore);

  const rows = batches.flatMap(({ inputs, shape }) =>
    tf.tidy(() => asTf<tf.Tensor2D>(runNetwork(generalist, operations.tensor(inputs, shape))).arraySync()),
  );
  expect(rows).toHaveLength(sample.inside.length);
  expect(sample.features).toHaveLength(rows.length * sample.width);
  rows.forEach((logits, row) => {
    const inside = logSumExp(logits.filter((_, label) => classes.includes(label)));
    const outside = logSumExp(logits.filter((_, label) => !classes.includes(label)));
    const tolerance = 1e-5 * Math.max(1, Math.abs(inside), Math.abs(outside));
    expect(Math.abs((sample.inside[row] ?? Number.NaN) - inside)).toBeLessThan(tolerance);
    expect(Math.abs((sample.outside[row] ?? Number.NaN) - outside)).toBeLessThan(tolerance);
  });
  generalist.dispose();
});

/** A linear classifier on random features, seen from the subset of its first classes. */
function collapsed({
  examples,
  width,
  classes,
  special,
}: Record<'examples' | 'width' | 'classes' | 'special', number>) {
  const random = createRandom(7, 'dustbin-row', classes, special);
  const head = Array.from({ length: classes }, () =>
    Float32Array.from({ length: width }, () => random.normal()),
  );
  const features = Float32Array.from({ length: examples * width }, () => Math.max(0, random.normal()));
  const inside = new Float32Array(examples);
  const outside = new Float32Array(examples);
  for (let example = 0; example < examples; example++) {
    const hidden = features.subarray(example * width, (example + 1) * width);
    const exps = head.map((row) =>
      Math.exp(row.reduce((sum, weight, index) => sum + weight * hidden[index], 0)),
    );
    inside[example] = Math.log(exps.slice(0, special).reduce((sum, value) => sum + value, 0));
    outside[example] = Math.log(exps.slice(special).reduce((sum, value) => sum + value, 0));
  }
  return { sample: { features, width, inside, outside }, head };
}

test('one outside class is matched exactly: the row is that class’s', () => {
  const { sample, head } = collapsed({ examples: 400, width: 8, classes: 5, special: 4 });
  const row = fitDustbinRow(sample);
  expect(row.divergence).toBeLessThan(1e-5);
  row.weights.forEach((weight, index) => {
    expect(weight).toBeCloseTo(head[4][index], 1);
  });
});

test('many outside classes: no row nearby is closer to the generalist', () => {
  const { sample } = collapsed({ examples: 500, width: 10, classes: 60, special: 12 });
  const row = fitDustbinRow(sample);
  expect(row.divergence).toBeLessThan(0.2);
  const divergenceOf = (weights: Float32Array, bias: number) => {
    let sum = 0;
    for (let example = 0; example < 500; example++) {
      const hidden = sample.features.subarray(example * 10, (example + 1) * 10);
      const logit = hidden.reduce((total, value, index) => total + value * weights[index], bias);
      const q = 1 / (1 + Math.exp(sample.inside[example] - logit));
      const p = 1 / (1 + Math.exp(sample.inside[example] - sample.outside[example]));
      sum += p * Math.log(p / q) + (1 - p) * Math.log((1 - p) / (1 - q));
    }
    return sum / 500;
  };
  expect(divergenceOf(row.weights, row.bias)).toBeCloseTo(row.divergence, 4);
  const random = createRandom(9);
  for (let trial = 0; trial < 50; trial++) {
    const weights = row.weights.map((weight) => weight + 0.05 * random.normal());
    const bias = row.bias + 0.05 * random.normal();
    expect(divergenceOf(weights, bias)).toBeGreaterThan(row.divergence - 1e-6);
  }
});
