import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CompressionType,
  compressionRegistry,
  RecordBatch,
  RecordBatchStreamWriter,
  Table,
  vectorFromArray,
} from 'apache-arrow';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packedTables } from '../../test/support/packed-by-python.js';
import { KdSpecError } from '../core/errors.js';
import { indexShard } from './arrow-shard.js';
import { openFeatureTable } from './feature-table.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-packing-'));
});
afterAll(() => rm(root, { recursive: true }));

const rows = 60;
const tables = Object.entries(packedTables);

async function read(bytes: Uint8Array): Promise<{ features: number[]; labels: (string | undefined)[] }> {
  const path = join(root, 'table.arrow');
  await writeFile(path, bytes);
  const table = await openFeatureTable(path, { isLabelled: true });
  try {
    const features: number[] = [];
    const labels: (string | undefined)[] = [];
    for (const index of table.batches.keys()) features.push(...(await table.batch(index)));
    for await (const { label } of table.cells()) labels.push(label);
    return { features, labels };
  } finally {
    await table.close();
  }
}

test.each(tables)('%s: every row, its categories and its null', async (_, bytes) => {
  const names = ['ash', 'a birch of a long name', 'cedar'];
  const expected = Array.from({ length: rows }, (_, row) => row);
  const { features, labels } = await read(bytes);
  expect(features).toEqual(expected.flatMap((row) => [row, 0 - row, row % 4, 0.5]));
  expect(labels).toEqual(expected.map((row) => (row === 5 ? undefined : names[row % 3])));
});

test.each(tables)('%s that is cut off anywhere: refused, or all that was written', async (name, bytes) => {
  const whole = await read(bytes);
  for (let end = 0; end < bytes.length; end += 23) {
    const reading = read(bytes.subarray(0, end));
    const outcome = await reading.catch((error: unknown) => error);
    if (outcome instanceof KdSpecError) expect(outcome.code).toMatch(/^shard-(truncated|corrupt)$/);
    else expect([name, end, outcome]).toEqual([name, end, whole]); // the footer is not needed
  }
});

/** Of the first buffer that announces as many bytes before its packed ones. */
function announcing(bytes: Uint8Array, size: number, magic: readonly number[]): number {
  const announced = Buffer.from(BigInt64Array.of(BigInt(size)).buffer);
  const place = Buffer.from(bytes).indexOf(Buffer.concat([announced, Buffer.from(magic)]));
  expect(place).toBeGreaterThan(0);
  return place;
}

const magics = { lz4: [0x04, 0x22, 0x4d, 0x18], zstd: [0x28, 0xb5, 0x2f, 0xfd] } as const;
const numbersBytes = 40 * 4 * 4; // of the features of a batch

test.each([
  ['one more', 641n, 'shard-corrupt', /instead of the 641 that were announced|announced/],
  ['one less', 639n, 'shard-corrupt', /639 .*announced/],
  ['nothing', 0n, 'shard-corrupt', /0 .*announced/],
  [
    'a terabyte',
    10n ** 12n,
    'shard-corrupt',
    /announces 1000000000000, unpacked, which \w+ cannot make of it/,
  ],
  ['less than nothing', -2n, 'shard-corrupt', /announces -2/],
  ['that it is stored as it is', -1n, 'dataset-invalid', /finite numbers|numbers/],
] as const)('a buffer that announces %s is refused', async (_, size, code, message) => {
  for (const [name, magic] of [
    ['LZ4, file format', magics.lz4],
    ['Zstandard, file format', magics.zstd],
  ] as const) {
    const bytes = Buffer.from(packedTables[name]);
    bytes.writeBigInt64LE(size, announcing(bytes, numbersBytes, magic));
    await expect(read(bytes), name).rejects.toMatchObject({
      name: 'KdSpecError',
      code,
      message: expect.stringMatching(message),
    });
  }
});

test('a codec that is not known is refused with those that are', async () => {
  const found = [];
  for (let at = 0; at < 1000; at++) {
    const bytes = Buffer.from(packedTables['Zstandard, file format']);
    if (bytes[at] !== CompressionType.ZSTD) continue;
    bytes[at] = 7;
    found.push(await read(bytes).catch((error: unknown) => String(error)));
  }
  expect(found).toContainEqual(expect.stringMatching(/codec that is not known \(7\).*compression="lz4"/));
});

test('batches as pyarrow 0.17 compressed them, before the format knew how, are refused', async () => {
  const [batch] = new Table({ x: vectorFromArray(new Int32Array(9)) }).batches;
  const early = new RecordBatch(
    batch.schema,
    batch.data,
    new Map([['ARROW:experimental_compression', 'lz4']]),
  );
  await expect(read(RecordBatchStreamWriter.writeAll([early]).toUint8Array(true))).rejects.toMatchObject({
    code: 'dataset-invalid',
    message: expect.stringMatching(/pyarrow 0\.17.*pyarrow 1 or later/),
  });
});

test('10 kB that announce 300 MB, as Zstandard can hold, are refused before any of it is made', async () => {
  const packed = Uint8Array.from({ length: 10_000 }, (_, at) => magics.zstd[at] ?? 0);
  compressionRegistry.set(CompressionType.ZSTD, { encode: () => packed.slice() });
  const zeros = new Table({ x: vectorFromArray(new Int32Array(20_000)) });
  const writer = RecordBatchStreamWriter.writeAll(zeros, { compressionType: CompressionType.ZSTD });
  const bytes = Buffer.from(writer.toUint8Array(true));
  const place = announcing(bytes, packed.length, magics.zstd); // apache-arrow announces the packed length
  const path = join(root, 'bomb.arrow');
  bytes.writeBigInt64LE(300_000_000n, place);
  await writeFile(path, bytes);
  const before = process.memoryUsage().arrayBuffers;
  await expect(indexShard(path)).rejects.toMatchObject({
    code: 'dataset-invalid',
    message: expect.stringMatching(/row 0 would take 300,000,000 bytes of memory.*chunksize=1000/),
  });
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000);
  bytes.writeBigInt64LE(100_000_000n, place);
  await writeFile(path, bytes);
  expect(await indexShard(path)).toMatchObject({ batches: [{ rows: 20_000 }] });
});
