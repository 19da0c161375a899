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

test('a damaged file gives a KdSpecError or a valid result, never anything else', async () => {
  const path = join(folder, 'whole.safetensors');
  await writeSafetensors(path, new Map([['a', { shape: [3, 2], values: new Float32Array(6).fill(1) }]]));
  const whole = await readFile(path);
  const damaged = join(folder, 'damaged.safetensors');
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), fc.nat(255), fc.boolean(), async (at, byte, cut) => {
      const bytes = cut ? whole.subarray(0, at) : Buffer.from(whole);
      if (!cut) bytes[at] = byte;
      await writeFile(damaged, bytes);
      const outcome = await readSafetensors(damaged).catch((error: unknown) => error);
      if (cut) expect(outcome).toBeInstanceOf(KdSpecError);
      else expect(outcome instanceof KdSpecError || outcome instanceof Map).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test('a file that is not there is named', async () => {
  await expect(readSafetensors(join(folder, 'nowhere'))).rejects.toMatchObject({ code: 'not-found' });
});
