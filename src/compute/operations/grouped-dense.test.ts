import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { normal, runs, size } from '../../../test/support/backend-agreement.js';
import { contractBackends } from '../../../test/support/contract-backends.js';
import { operationsOn } from '../../../test/support/operations.js';
import type { Operations } from '../operations.js';
import { rowBlocks } from '../tensorflow-js/grouped-dense.js';

const backends = [...(await contractBackends()), 'cpu'] as const;
const counted = fc
  .array(fc.oneof(fc.constant(0), size(3), size(40)), { minLength: 1, maxLength: 7 })
  .map((counts) => Int32Array.from(counts))
  .filter((counts) => counts.some((count) => count > 0));

interface Groups {
  readonly counts: Int32Array;
  readonly inputs: number;
  readonly units: number;
}

/** Values from the normal distribution, the same for the same shape. */
function made({ counts, inputs, units }: Groups) {
  const rows = counts.reduce((sum, count) => sum + count, 0);
  const groups = counts.length;
  return {
    x: normal(1, [rows, inputs]).values,
    weights: normal(2, [groups, inputs, units]).values,
    bias: normal(3, [groups, units]).values,
    rows,
    groups,
  };
}

async function onBackend(on: Operations, shape: Groups, activation: 'none' | 'relu'): Promise<Float32Array> {
  const { counts, inputs, units } = shape;
  const { x, weights, bias, rows, groups } = made(shape);
  const output = on.tidy(() =>
    on.groupedDense(
      on.tensor(x, [rows, inputs]),
      on.tensor(weights, [groups, inputs, units]),
      on.tensor(bias, [groups, units]),
      counts,
      { activation },
    ),
  );
  expect(output.shape).toEqual([rows, units]);
  const values = await on.read(output);
  output.dispose();
  return values;
}

/** Value by value, in double precision. */
function plainly(shape: Groups, activation: 'none' | 'relu'): Float64Array {
  const { counts, inputs, units } = shape;
  const { x, weights, bias, rows } = made(shape);
  const output = new Float64Array(rows * units);
  let row = 0;
  for (const [group, count] of counts.entries()) {
    for (const end = row + count; row < end; row++) {
      for (let unit = 0; unit < units; unit++) {
        let sum = bias[group * units + unit];
        for (let i = 0; i < inputs; i++)
          sum += x[row * inputs + i] * weights[(group * inputs + i) * units + unit];
        output[row * units + unit] = activation === 'relu' ? Math.max(0, sum) : sum;
      }
    }
  }
  return output;
}

test('each row has the layer of its group, whatever the groups that have rows', async () => {
  await fc.assert(
    fc.asyncProperty(counted, size(30), size(70), async (counts, inputs, units) => {
      for (const activation of ['none', 'relu'] as const) {
        const shape = { counts, inputs, units };
        const expected = plainly(shape, activation);
        for (const backend of backends) {
          const values = await onBackend(await operationsOn(backend), shape, activation);
          const error = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - values[i])), 0);
          expect(error, backend).toBeLessThan(1e-4);
        }
      }
    }),
    runs,
  );
});

test('hundreds of groups, most of them empty, some with a few rows and some with many', async () => {
  const counts = Int32Array.from({ length: 300 }, (_, group) => {
    if (group % 3 !== 1) return 0;
    return group % 50 === 1 ? 100 : 1 + (group % 20);
  });
  for (const groups of [
    counts,
    counts.map((count) => Math.min(count, 1)),
    counts.map((count) => 5 * count),
  ]) {
    const shape = { counts: groups, inputs: 21, units: 67 };
    const expected = plainly(shape, 'relu');
    for (const backend of backends) {
      const values = await onBackend(await operationsOn(backend), shape, 'relu');
      const error = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - values[i])), 0);
      expect(error, backend).toBeLessThan(1e-4);
    }
  }
});

test('what is not a number stays so, and nothing is left behind', async () => {
  for (const backend of backends) {
    const on = await operationsOn(backend);
    const before = tf.memory().numTensors;
    const layer = on.tidy(() =>
      on.groupedDense(
        on.tensor(Float32Array.of(1, Number.NaN), [2, 1]),
        on.tensor(new Float32Array(10).fill(1), [2, 1, 5]),
        on.tensor(new Float32Array(10), [2, 5]),
        Int32Array.of(1, 1),
        { activation: 'relu' },
      ),
    );
    const values = await on.read(layer);
    expect([...values.subarray(0, 5)], backend).toEqual([1, 1, 1, 1, 1]);
    expect([...values.subarray(5)].every(Number.isNaN), backend).toBe(true);
    layer.dispose();
    expect(tf.memory().numTensors).toBe(before);
  }
});

test('blocks hold every row once, in its group, and cost at most what single rows do', () => {
  const skewed = fc.array(fc.oneof(size(3, 0), size(200)), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(skewed, (list) => {
      const counts = Int32Array.from(list);
      const rows = counts.reduce((sum, count) => sum + count, 0);
      fc.pre(rows > 0);
      const { size, groups, sources, places } = rowBlocks(counts);
      const groupOf = [...counts].flatMap((count, group) => Array<number>(count).fill(group));
      expect(places).toHaveLength(rows);
      expect([...places.keys()].filter((row) => sources[places[row]] !== row)).toEqual([]);
      const blockOf = (row: number) => Math.floor(places[row] / size);
      expect([...places.keys()].filter((row) => groups[blockOf(row)] !== groupOf[row])).toEqual([]);
      expect(sources).toHaveLength(groups.length * size);
      expect(groups.length * (size + 8)).toBeLessThanOrEqual(9 * rows);
    }),
  );
});
