import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { selectBackend } from '../compute/backend.js';
import { createRandom } from '../core/random.js';
import { createNetwork, networkValues } from './network.js';
import type { NetworkDefinition } from './network-definition.js';
import { runNetwork } from './run-network.js';
import { widenDense } from './widen.js';

const { operations } = await selectBackend('wasm');

const definition: NetworkDefinition = {
  input: { height: 6, width: 6, channels: 1 },
  convolutions: [3],
  kernel: 3,
  dense: [5, 4],
  normalisation: 'batch',
  dropout: 0,
  outputs: 7,
};

test.each(['batch', 'none'] as const)(
  'a wider network answers the same, normalisation %s',
  async (normalisation) => {
    const random = createRandom(3, 'widen');
    const narrow = createNetwork(operations, { ...definition, normalisation }, random);
    const wide = await widenDense(narrow, [9, 4], random);
    const images = tf.randomUniform<tf.Rank.R4>([8, 6, 6, 1], 0, 1, 'float32', 5);
    const [ofNarrow, ofWide] = [narrow, wide].map((network) => runNetwork(network, images));
    expect(wide.definition.dense).toEqual([9, 4]);
    expect(await operations.read(ofWide)).toEqual(await operations.read(ofNarrow));
    narrow.dispose();
    const values = await networkValues(wide); // its own: the narrow one is gone
    expect(
      values
        .get('dense.1.weights')
        ?.values.subarray(5 * 4)
        .every((weight) => weight === 0),
    ).toBe(true);
    expect(values.get('dense.0.weights')?.values.every((weight) => weight !== 0)).toBe(true);
    wide.dispose();
  },
);

test('what was added learns: a step down the gradient reaches it', async () => {
  const random = createRandom(3, 'widen');
  const wide = await widenDense(createNetwork(operations, definition, random), [9, 6], random);
  const images = tf.randomUniform<tf.Rank.R4>([7, 6, 6, 1], 0, 1, 'float32', 5);
  const labels = operations.tensor(Int32Array.of(0, 1, 2, 3, 4, 5, 6), [7]);
  const loss = () => operations.softmaxCrossEntropy(runNetwork(wide, images), labels);
  const { gradients } = operations.valueAndGradients(loss, [wide.variable('head.weights')]);
  const gradient = await operations.read(gradients[0]); // (6, 7)
  expect(gradient.subarray(4 * 7).some((value) => value !== 0)).toBe(true);
});
