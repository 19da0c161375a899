import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { operationsOn } from '../../test/support/operations.js';
import { selectBackend } from '../compute/backend.js';
import { createRandom } from '../core/random.js';
import { createNetwork, expectRoom } from './network.js';
import type { NetworkDefinition } from './network-definition.js';
import { runNetwork } from './run-network.js';

const definition: NetworkDefinition = {
  input: { height: 6, width: 6, channels: 1 },
  convolutions: [3],
  kernel: 3,
  dense: [5],
  normalisation: 'batch',
  dropout: 0,
  outputs: 4,
};

test('a program that has set a backend keeps it, and its tensors', async () => {
  await tf.setBackend('cpu');
  const mine = tf.variable(tf.tensor1d([1, 2, 3]));
  const { operations } = await selectBackend('wasm');
  expect(tf.getBackend()).toBe('cpu');

  const network = createNetwork(operations, definition, createRandom('host'));
  const images = Float32Array.from({ length: 4 * 36 }, (_, i) => (i % 7) / 7);
  const logits = operations.tidy(() => {
    const output = runNetwork(network, operations.tensor(images, [4, 6, 6, 1]));
    expect(tf.getBackend()).toBe('wasm');
    return output;
  });
  expect(tf.getBackend()).toBe('cpu');
  const values = await operations.read(logits);
  const labels = operations.tensor(Int32Array.of(0, 1, 2, 3), [4]);
  expect(() =>
    operations.tidy(() => {
      operations.softmaxCrossEntropy(logits, labels);
      throw new Error('in the middle');
    }),
  ).toThrow('in the middle');
  expect(tf.getBackend()).toBe('cpu');
  expect(await mine.mul(2).data()).toEqual(Float32Array.of(2, 4, 6));
  expect(mine.dataSync()).toEqual(Float32Array.of(1, 2, 3));

  // On a backend of its own the same network gives the same.
  const alone = createNetwork(await operationsOn('cpu'), definition, createRandom('host'));
  const again = runNetwork(alone, alone.operations.tensor(images, [4, 6, 6, 1]));
  const expected = await alone.operations.read(again);
  expected.forEach((value, i) => {
    expect(values[i]).toBeCloseTo(value, 5);
  });
  network.dispose();
  alone.dispose();
});

test('what WebAssembly cannot hold is refused with what it takes and what helps', () => {
  const why = { what: 'a network of many classes', advice: 'take fewer' };
  expect(() => expectRoom('wasm', 2 ** 30, why)).not.toThrow();
  expect(() => expectRoom('tensorflow', 2 ** 31, why)).not.toThrow();
  expect(() => expectRoom('wasm', 2 ** 31, why)).toThrow(
    'a network of many classes takes about 8.0 GiB, and WebAssembly holds 4.0 GiB: take fewer',
  );
});
