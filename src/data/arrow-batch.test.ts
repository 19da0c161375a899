import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Binary,
  Field,
  Int64,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableToIPC,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import { expect, test } from 'vitest';
import { readBatch } from './arrow-batch.js';
import { integers, texts } from './arrow-columns.js';
import { indexShard, openShard } from './arrow-shard.js';

test('of some columns nothing else is read', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-columns-'));
  const path = join(folder, 'images.arrow');
  const rows = 50;
  const imageBytes = 10_000;
  const each = <T>(of: (row: number) => T) => Array.from({ length: rows }, (_, row) => of(row));
  const columns = {
    image: vectorFromArray(
      each(() => new Uint8Array(imageBytes).fill(7)),
      new Binary(),
    ),
    label: vectorFromArray(
      each((row) => (row % 5 === 0 ? null : BigInt(row))),
      new Int64(),
    ),
    vendor: vectorFromArray(
      each((row) => `vendor ${row}`),
      new Utf8(),
    ),
  };
  const schema = new Schema(Object.entries(columns).map(([name, { type }]) => new Field(name, type, true)));
  const data = makeData({
    type: new Struct(schema.fields),
    length: rows,
    children: Object.values(columns).map(({ data: [one] }) => one),
  });
  await writeFile(path, tableToIPC(new Table(schema, [new RecordBatch(schema, data)]), 'stream'));

  const shard = await indexShard(path);
  const handle = await openShard(path);
  let read = 0;
  const counting = new Proxy(handle, {
    get: (target, name) =>
      name === 'read'
        ? (bytes: Uint8Array, offset: number, length: number, position: number) => {
            read += length;
            return target.read(bytes, offset, length, position);
          }
        : Reflect.get(target, name),
  });
  const [location] = shard.batches;
  const batch = await readBatch(counting, shard, location, { columns: ['label', 'vendor'] });
  await handle.close();
  const dataOf = (name: string) => {
    const [one] = batch.getChild(name)?.data ?? [];
    return one;
  };
  const place = { path, firstRow: 0 };
  const labelAt = integers(dataOf('label'), place, { nullable: true });
  const vendorAt = texts(dataOf('vendor'), place);
  for (let row = 0; row < rows; row++) {
    expect(labelAt(row)).toBe(row % 5 === 0 ? null : row);
    expect(vendorAt(row)).toBe(`vendor ${row}`);
  }
  expect(read).toBeLessThan(imageBytes);
  expect(location.fileBytes).toBeGreaterThan(rows * imageBytes);
  await rm(folder, { recursive: true });
});
