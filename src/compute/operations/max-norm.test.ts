import { expect, test } from 'vitest';
import { selectBackend } from '../backend.js';

test('units with long weights are scaled to the limit, the others stay', async () => {
  const { operations } = await selectBackend('wasm');
  const weights = operations.variable(Float32Array.of(3, 0.1, 0, 4, 0.2, 0), [2, 3]);
  operations.limitColumnNorms(weights, 2);
  const expected = [1.2, 0.1, 0, 1.6, 0.2, 0];
  (await operations.read(weights)).forEach((value, index) => {
    expect(value).toBeCloseTo(expected[index], 6);
  });
});
