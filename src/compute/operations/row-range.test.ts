import { expect, test } from 'vitest';
import { operationsOn } from '../../../test/support/operations.js';

test.each(['wasm', 'cpu'] as const)('rows from the middle and to the end, on %s', async (backend) => {
  const operations = await operationsOn(backend);
  const tensor = operations.tensor(
    Float32Array.from({ length: 30 }, (_, i) => i),
    [5, 2, 3],
  );
  for (const [start, count] of [
    [1, 2],
    [4, 1],
    [0, 5],
  ]) {
    const rows = operations.rowRange(tensor, start, count);
    expect(rows.shape).toEqual([count, 2, 3]);
    expect(Array.from(await operations.read(rows))).toEqual(
      Array.from({ length: 6 * count }, (_, i) => 6 * start + i),
    );
    rows.dispose();
  }
  tensor.dispose();
});
