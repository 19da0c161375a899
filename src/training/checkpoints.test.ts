import { appendFile, cp, mkdtemp, readdir, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { selectBackend } from '../compute/backend.js';
import { silentLog } from '../core/log.js';
import { createRandom } from '../core/random.js';
import { createNetwork, type Network } from '../models/network.js';
import { checkpointsFolder, restoreCheckpoint, saveCheckpoint, type TrainingState } from './checkpoints.js';
import { Optimizer } from './optimizer.js';

let directory: string;
let network: Network;
let optimizer: Optimizer;
const warnings: string[] = [];
const log = { ...silentLog, warn: (message: string) => warnings.push(message) };

const { operations } = await selectBackend('wasm');
beforeEach(async () => {
  warnings.length = 0;
  directory = await mkdtemp(join(tmpdir(), 'kd-spec-checkpoints-'));
  network = createNetwork(
    operations,
    {
      input: { height: 4, width: 4, channels: 1 },
      convolutions: [],
      kernel: 3,
      dense: [4],
      normalisation: 'none',
      dropout: 0,
      outputs: 2,
    },
    createRandom(1),
  );
  optimizer = new Optimizer('adamw', network, 'dense');
});
afterEach(async () => {
  optimizer.dispose();
  network.dispose();
  await rm(directory, { recursive: true, force: true });
});

const state = (step: number): TrainingState => ({
  seed: 1,
  step,
  stepsPerEpoch: 10,
  epochLoss: 0,
  seconds: 1,
});
const save = (step: number) => saveCheckpoint(directory, network, optimizer, state(step));
const restore = () => restoreCheckpoint(directory, network, optimizer, { log });
const kept = () => readdir(checkpointsFolder(directory));
const folderOf = (step: number) => join(checkpointsFolder(directory), `step-00000000${step}`);

test('the last two are kept, and the newer is restored', async () => {
  for (const step of [1, 2, 3]) await save(step);
  expect(await kept()).toEqual(['step-000000002', 'step-000000003']);
  expect(await restore()).toEqual(state(3));
  expect(warnings).toEqual([]);
});

describe('a damaged newer one is passed over for the older', () => {
  test.each<[string, () => Promise<unknown>]>([
    ['a file cut off', () => truncate(join(folderOf(3), 'model.safetensors'), 40)],
    ['a file emptied', () => truncate(join(folderOf(3), 'optimizer.safetensors'), 0)],
    ['bytes behind the state', () => appendFile(join(folderOf(3), 'state.json'), ' ')],
    ['a file missing', () => rm(join(folderOf(3), 'state.json'))],
    ['no seal', () => rm(join(folderOf(3), 'seal.json'))],
    ['a seal cut off', () => truncate(join(folderOf(3), 'seal.json'), 10)],
    ['the seal of nothing', () => writeFile(join(folderOf(3), 'seal.json'), '{}')],
    [
      "another training's file",
      async () => {
        await cp(join(folderOf(3), 'model.safetensors'), join(folderOf(3), 'optimizer.safetensors'));
      },
    ],
  ])('%s', async (_, damage) => {
    for (const step of [2, 3]) await save(step);
    await damage();
    expect(await restore()).toEqual(state(2));
    expect(warnings).toEqual([expect.stringContaining('step-000000003')]);

    // It does not count as one of the last two either, though the training comes to a lower step before a higher.
    await save(4);
    expect(await kept()).toEqual(['step-000000002', 'step-000000004']);
  });
});

test('one that was not yet in its place when the process ended is no checkpoint', async () => {
  await save(2);
  await save(3);
  await rename(folderOf(3), `${folderOf(3)}.partial`);
  expect(await restore()).toEqual(state(2));
});

test('without a whole one training begins again', async () => {
  await save(2);
  await truncate(join(folderOf(2), 'model.safetensors'), 0);
  expect(await restore()).toBeUndefined();
  expect(await kept()).toEqual([]);
});
