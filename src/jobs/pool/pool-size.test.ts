import { expect, test } from 'vitest';
import type { NetworkDefinition } from '../../models/network-definition.js';
import { poolSize, workerMegabytes } from './pool-size.js';

const definition: NetworkDefinition = {
  input: { height: 28, width: 28, channels: 1 },
  convolutions: [32, 64],
  kernel: 3,
  dense: [256],
  normalisation: 'batch',
  dropout: 0,
  outputs: 1000,
};
const options = { backend: 'wasm', definition, batchSize: 128, memoryMegabytes: null } as const;

test('as many processes as cores, unless memory is short', async () => {
  const need = workerMegabytes(definition, 128);
  const ofRoom = (cores: number, freeMegabytes: number) =>
    poolSize('auto', options, { cores, freeMegabytes });
  expect((await ofRoom(4, 100 * need)).workers).toBe(4);
  expect((await ofRoom(64, (10 * need) / 0.9 + 2)).workers).toBe(10);
  expect((await ofRoom(8, need / 2)).workers).toBe(1);
});

test('a number that was asked for is kept, and nine tenths of the free memory are shared', async () => {
  const room = { cores: 2, freeMegabytes: 8000 };
  expect(await poolSize(6, options, room)).toEqual({ workers: 6, memoryMegabytes: 1200 });
  expect(await poolSize('auto', { ...options, memoryMegabytes: 5000 }, room)).toEqual({
    workers: 1,
    memoryMegabytes: 5000,
  });
});

test('a GPU takes one process, unless a number was asked for', async () => {
  const onGpu = { ...options, backend: 'tensorflow-gpu' } as const;
  const room = { cores: 8, freeMegabytes: 64_000 };
  expect((await poolSize('auto', onGpu, room)).workers).toBe(1);
  expect((await poolSize(3, onGpu, room)).workers).toBe(3);
});

test('the estimate is above what training was measured to hold, and not by far', () => {
  // Beside 300 for the process: 1.3 million numbers ten times, and a batch of activations.
  expect(workerMegabytes(definition, 128)).toBeGreaterThan(398);
  expect(workerMegabytes(definition, 128)).toBeLessThan(1000);
});
