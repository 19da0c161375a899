import { expect, test } from 'vitest';
import type { NetworkDefinition } from '../models/network-definition.js';
import { chooseLocalEngine, type LocalOptions } from './local-engine.js';

const definition: NetworkDefinition = {
  input: { height: 8, width: 8, channels: 1 },
  convolutions: [4],
  kernel: 3,
  dense: [8],
  normalisation: 'batch',
  dropout: 0,
  outputs: 10,
};
const nothing: LocalOptions = { parallel: null, hangSeconds: null, workerMemory: null };

test.each<[Partial<LocalOptions>, string, number]>([
  [{}, 'this process', 1],
  [{ parallel: 1 }, 'one process', 1],
  [{ parallel: 3 }, '3 processes', 3],
  [{ hangSeconds: 60 }, 'one process', 1],
  [{ workerMemory: 500 }, 'one process', 1],
  [{ parallel: 2, hangSeconds: 60, workerMemory: 500 }, '2 processes', 2],
])('%j trains in %s', async (asked, name, workers) => {
  const size = { backend: 'wasm', definition, batchSize: 32 } as const;
  const chosen = await chooseLocalEngine({ ...nothing, ...asked }, size);
  expect({ name: chosen.engine.name, workers: chosen.workers }).toEqual({ name, workers });
});
