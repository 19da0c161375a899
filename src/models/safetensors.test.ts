import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { KdSpecError } from '../core/errors.js';
import { type HostTensor, readSafetensors, writeSafetensors } from './safetensors.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-safetensors-'));
});

const tensor = fc.array(fc.nat(4), { maxLength: 3 }).chain((shape): fc.Arbitrary<HostTensor> => {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return fc.oneof(
    fc.float32Array({ minLength: size, maxLength: size }).map((values) => ({ shape, values })),
    fc.int32Array({ minLength: size, maxLength: size }).map((values) => ({ shape, values })),
  );
});
const name = fc.string({ minLength: 1 }).filter((text) => text !== '__metadata__' && text !== '__proto__');
const tensors = fc.array(fc.tuple(name, tensor), { maxLength: 5 }).map((entries) => new Map(entries));

test('what is written is read', async () => {
  await fc.assert(
    fc.asyncProperty(tensors, async (written) => {
      const path = join(folder, 'round-trip.safetensors');
      await writeSafetensors(path, written);
      expect(new Map(await readSafetensors(path))).toEqual(written);
    }),
    { numRuns: 50 },
  );
});

test('an empty tensor is read although JSON puts numeric names before it', async () => {
  const path = join(folder, 'empty.safetensors');
  const written = new Map<string, HostTensor>([
    ['empty', { shape: [0], values: new Float32Array(0) }],
    ['1', { shape: [1], values: Float32Array.of(7) }],
  ]);
  await writeSafetensors(path, written);
  expect(new Map(await readSafetensors(path))).toEqual(written);
});

const whole = { shape: [3, 2], values: new Float32Array(6).fill(1) };
const writeWhole = async () => {
  const path = join(folder, 'whole.safetensors');
  await writeSafetensors(path, new Map([['a', whole]]));
  const bytes = await readFile(path);
  return { bytes, dataStart: 8 + Number(bytes.readBigUInt64LE(0)) };
};

/** The one tensor of a file as the format defines it, read without any of our code; undefined where it is not valid. */
function tensorOf(bytes: Buffer): [string, HostTensor] | undefined {
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const data = bytes.subarray(8 + headerBytes);
  try {
    const { __metadata__, ...tensors } = JSON.parse(bytes.toString('utf8', 8, 8 + headerBytes));
    const [[name, { dtype, shape, data_offsets }], ...others] = Object.entries<{
      dtype: string;
      shape: number[];
      data_offsets: number[];
    }>(tensors);
    const values = new DataView(Uint8Array.from(data).buffer);
    const read = {
      F32: (k: number) => values.getFloat32(4 * k, true),
      I32: (k: number) => values.getInt32(4 * k, true),
    };
    const size = shape[0] * shape[1];
    const isWhole = data_offsets[0] === 0 && data_offsets[1] === data.length && data.length === 4 * size;
    if (others.length > 0 || shape.length !== 2 || !isWhole || !(dtype === 'F32' || dtype === 'I32'))
      return undefined;
    const array = dtype === 'F32' ? new Float32Array(size) : new Int32Array(size);
    return [name, { shape, values: array.map((_: number, k: number) => read[dtype](k)) }];
  } catch {
    return undefined;
  }
}

test('a file that was cut off is refused, wherever', async () => {
  const { bytes } = await writeWhole();
  const path = join(folder, 'cut.safetensors');
  for (let length = 0; length < bytes.length; length++) {
    await writeFile(path, bytes.subarray(0, length));
    await expect(readSafetensors(path)).rejects.toMatchObject({ code: 'checkpoint-invalid' });
  }
});

test('a changed byte of the data changes that value alone', async () => {
  const { bytes, dataStart } = await writeWhole();
  const path = join(folder, 'changed.safetensors');
  for (let at = dataStart; at < bytes.length; at++) {
    const changed = Buffer.from(bytes);
    changed[at] ^= 1;
    await writeFile(path, changed);
    const values = Float32Array.from(whole.values);
    new Uint8Array(values.buffer)[at - dataStart] ^= 1;
    expect(new Map(await readSafetensors(path))).toEqual(new Map([['a', { ...whole, values }]]));
  }
});

test('a changed byte of the header is refused unless the header is still one of the format', async () => {
  const { bytes, dataStart } = await writeWhole();
  const path = join(folder, 'damaged.safetensors');
  const kept: string[] = [];
  await fc.assert(
    fc.asyncProperty(fc.nat(dataStart - 1), fc.nat(255), async (at, byte) => {
      const changed = Buffer.from(bytes);
      changed[at] = byte;
      await writeFile(path, changed);
      const expected = tensorOf(changed);
      const outcome = await readSafetensors(path).catch((error: unknown) => error);
      if (expected === undefined) expect(outcome).toBeInstanceOf(KdSpecError);
      else expect(outcome).toEqual(new Map([expected]));
      if (expected !== undefined) kept.push(expected[0]);
    }),
    {
      numRuns: 300,
      examples: [
        [dataStart - 1, 0x20],
        [8, 0x20],
      ],
    },
  );
  expect(kept).toContain('a');
});

test('a file that is not there is named', async () => {
  await expect(readSafetensors(join(folder, 'nowhere'))).rejects.toMatchObject({ code: 'not-found' });
});
