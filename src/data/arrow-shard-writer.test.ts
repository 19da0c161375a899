import { mkdtemp, readdir, readlink, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Field, Float32, makeData, Schema } from 'apache-arrow';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createShardWriter } from './arrow-shard-writer.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-shard-writer-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const schema = new Schema([new Field('value', new Float32())]);
const column = (values: readonly number[]) =>
  makeData({ type: new Float32(), length: values.length, data: Float32Array.from(values) });

// Every write to /dev/full fails as on a full disk.
describe.runIf(process.platform === 'linux')('on a disk that is full', () => {
  const full = (shard: number) => symlink('/dev/full', join(folder, `data-0000${shard}.arrow.partial`));
  const openOnFull = async () => {
    const descriptors = await readdir('/proc/self/fd');
    const targets = await Promise.all(
      descriptors.map((one) => readlink(join('/proc/self/fd', one)).catch(() => '')),
    );
    return targets.filter((target) => target === '/dev/full').length;
  };

  test('a first shard that cannot begin is refused, and leaves no file open', async () => {
    await full(0);
    await expect(createShardWriter(folder, schema)).rejects.toMatchObject({ code: 'disk-full' });
    expect(await openOnFull()).toBe(0);
  });

  test('a later shard that cannot begin is refused, and aborting leaves no file open and no shard', async () => {
    await full(1);
    const writer = await createShardWriter(folder, schema, { shardBytes: 1 });
    await writer.write([column([1])]);
    await expect(writer.write([column([2])])).rejects.toMatchObject({ code: 'disk-full' });
    await writer.abort();
    expect(await openOnFull()).toBe(0);
    expect(await readdir(folder)).toEqual([]);
  });
});
