import { expect, test } from 'vitest';
import { createRandom } from '../src/core/random.js';
import type { CsrMatrix } from '../src/math/csr.js';
import { createCsrBuilder } from '../src/math/csr.js';

// Threads run what is built: a worker cannot load TypeScript on every Node that kd-spec runs on.
const built = new URL('../dist/', import.meta.url).href;
const { onlineKMeans } = (await import(
  `${built}math/kmeans/online-kmeans.js`
)) as typeof import('../src/math/kmeans/online-kmeans.js');
const { createRowThreads } = (await import(
  `${built}math/row-threads.js`
)) as typeof import('../src/math/row-threads.js');
const { sparseProduct } = (await import(
  `${built}math/sparse-product.js`
)) as typeof import('../src/math/sparse-product.js');

function randomRows(rows: number, columns: number, entries: number): CsrMatrix {
  const random = createRandom(1, 'row-threads', rows);
  const builder = createCsrBuilder(columns);
  for (let row = 0; row < rows; row++) {
    const near = random.below(columns);
    const chosen = new Set(Array.from({ length: entries }, () => (near + random.below(40)) % columns));
    builder.addRow(
      [...chosen],
      Array.from(chosen, () => random.uniform()),
      chosen.size,
    );
  }
  return builder.finish();
}

test('clusters are the same, byte for byte, for any number of threads', () => {
  const matrix = randomRows(6000, 900, 12);
  const run = (threads: number) => onlineKMeans(matrix, { clusters: 40, seed: 3, threads });
  const alone = run(1);
  for (const threads of [2, 3]) expect(run(threads)).toEqual(alone);
});

test('so is a sparse product', () => {
  const a = randomRows(3000, 500, 6);
  const b = randomRows(500, 700, 9);
  const options = { entriesPerRow: 20, divisors: new Float64Array(3000).fill(2) };
  const alone = sparseProduct(a, b, options);
  const threads = createRowThreads(3);
  try {
    expect(sparseProduct(a, b, { ...options, threads })).toEqual(alone);
  } finally {
    threads.dispose();
  }
});

test('work that fails in any thread fails in the caller', async () => {
  const threads = createRowThreads(2);
  const module = `data:text/javascript,${encodeURIComponent(
    'export const create = () => (start) => { if (start > 0) throw new Error("no"); };',
  )}`;
  const { create } = await import(/* @vite-ignore */ module);
  try {
    expect(() => threads.run({ module, name: 'create', create }, {}, 1000)).toThrow();
  } finally {
    threads.dispose();
  }
});
