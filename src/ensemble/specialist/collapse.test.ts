import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { asTf, scaleHead } from '../../../test/support/operations.js';
import { selectBackend } from '../../compute/backend.js';
import { createRandom } from '../../core/random.js';
import { createNetwork } from '../../models/network.js';
import type { NetworkDefinition } from '../../models/network-definition.js';
import { runNetwork } from '../../models/run-network.js';
import { collapseGeneralist } from './collapse.js';

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
