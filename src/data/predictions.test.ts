import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Field,
  Float32,
  Float64,
  Int32,
  Int64,
  List,
  Table,
  tableToIPC,
  type Vector,
  vectorFromArray,
} from 'apache-arrow';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPredictionWriter, type PredictionBatch, readPredictions } from './predictions.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-predictions-'));
});
afterAll(() => rm(root, { recursive: true }));

type Rows = readonly { readonly entries: readonly (readonly [number, number])[]; readonly label: number }[];

const classes = 50;
const batchRows: fc.Arbitrary<Rows> = fc.array(
  fc.record({
    entries: fc
      .uniqueArray(fc.integer({ min: 0, max: classes - 1 }), { maxLength: 8 })
      .chain((indices) =>
        fc.tuple(
          ...indices.map((index) =>
            fc.tuple(fc.constant(index), fc.float({ min: 0, max: 0.125, noNaN: true })),
          ),
        ),
      ),
    label: fc.integer({ min: 0, max: classes - 1 }),
  }),
  { minLength: 1, maxLength: 20 },
);

function toBatch(rows: Rows, labelled: boolean): PredictionBatch {
  const offsets = new Int32Array(rows.length + 1);
  for (const [row, { entries }] of rows.entries()) offsets[row + 1] = offsets[row] + entries.length;
  const entries = rows.flatMap((row) => row.entries);
  const indices = Int32Array.from(entries, ([index]) => index);
  const values = Float32Array.from(entries, ([, value]) => value);
  const labels = labelled ? Int32Array.from(rows, ({ label }) => label) : undefined;
  return { probabilities: { rows: rows.length, columns: classes, offsets, indices, values }, labels };
}

async function readAll(path: string, options?: { classes?: number }): Promise<PredictionBatch[]> {
  const batches = [];
  for await (const batch of (await readPredictions(path, options)).rows()) batches.push(batch);
  return batches;
}

let folders = 0;

test('what is written comes back, in shards of bounded size', async () => {
  const property = fc.asyncProperty(
    fc.array(batchRows, { maxLength: 6 }),
    fc.boolean(),
    async (batches, labelled) => {
      const directory = join(root, String(folders++));
      const writer = createPredictionWriter(directory, { classes, shardBytes: 3000 });
      for (const rows of batches) await writer.write(toBatch(rows, labelled));
      const shards = await writer.close();
      expect(shards.reduce((sum, { rows }) => sum + rows, 0)).toBe(batches.flat().length);
      const predictions = await readPredictions(directory);
      expect(predictions).toMatchObject({ classes, rowCount: batches.flat().length });
      expect(await readAll(directory)).toEqual(batches.map((rows) => toBatch(rows, labelled)));
    },
  );
  await fc.assert(property, { numRuns: 20 });
});

const list = (rows: readonly (readonly (number | bigint)[])[], item: Int32 | Int64 | Float32 | Float64) =>
  vectorFromArray(rows, new List(new Field('item', item, true)));

async function write(
  name: string,
  columns: Record<string, Vector>,
  format: 'stream' | 'file',
): Promise<string> {
  await writeFile(join(root, name), tableToIPC(new Table(columns), format));
  return join(root, name);
}

test('files made elsewhere are read: file format, wider types, no labels', async () => {
  const columns = {
    indices: list([[3n, 1n], [], [7n]], new Int64()),
    probabilities: list([[0.5, 0.25], [], [1]], new Float64()),
  };
  const expected = {
    probabilities: {
      rows: 3,
      columns: 8,
      offsets: Int32Array.of(0, 2, 2, 3),
      indices: Int32Array.of(3, 1, 7),
      values: Float32Array.of(0.5, 0.25, 1),
    },
    labels: undefined,
  };
  for (const format of ['stream', 'file'] as const) {
    const path = await write(`foreign-${format}.arrow`, columns, format);
    expect(await readAll(path)).toEqual([expected]);
    expect((await readAll(path, { classes: 20 }))[0].probabilities.columns).toBe(20);
    expect((await readPredictions(path)).classes).toBe(8);
  }
});

test('every batch has as many classes as the largest class of any batch or label asks for', async () => {
  const part = (index: number, label: number) =>
    new Table({
      indices: list([[index]], new Int32()),
      probabilities: list([[1]], new Float32()),
      label: vectorFromArray([label], new Int32()),
    });
  const path = join(root, 'batches.arrow');
  await writeFile(path, tableToIPC(part(2, 0).concat(part(7, 1), part(1, 9)), 'stream'));
  const batches = await readAll(path);
  expect(batches.map(({ probabilities }) => probabilities.columns)).toEqual([10, 10, 10]);
});

test('rows that are no sub-distributions are named with file and row', async () => {
  const bad: [string, (number | bigint)[], number[]][] = [
    ['NaN', [1, 2], [0.5, Number.NaN]],
    ['negative', [1, 2], [0.5, -0.1]],
    ['sum', [1, 2], [0.6, 0.5]],
    ['range', [1, 60], [0.5, 0.5]],
    ['below', [1, -1], [0.5, 0.5]],
    ['twice', [4, 4], [0.5, 0.5]],
    ['lengths', [1, 2], [0.5]],
    ['infinite', [1], [Number.POSITIVE_INFINITY]],
  ];
  for (const [name, indices, probabilities] of bad) {
    const columns = {
      indices: list([[0], indices], new Int32()),
      probabilities: list([[1], probabilities], new Float32()),
    };
    const path = await write(`${name}.arrow`, columns, 'stream');
    await expect(readAll(path, { classes })).rejects.toMatchObject({
      code: 'predictions-invalid',
      message: expect.stringContaining(`${name}.arrow, row 1:`),
    });
  }
  const other = await write('other.arrow', { indices: list([[1]], new Int32()) }, 'file');
  await expect(readPredictions(other)).rejects.toMatchObject({ code: 'predictions-invalid' });
});
