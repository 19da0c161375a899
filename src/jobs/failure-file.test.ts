import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { failuresFolder, forgetFailure, readFailure, writeFailure } from './failure-file.js';
import type { SpecialistWork } from './specialist-work.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-failures-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const work: SpecialistWork = {
  directory: 'specialists',
  generalist: 'generalist',
  dataset: 'dataset',
  inputs: {},
  subsets: [{ id: 0, classes: [3, 1] }],
  labelCounts: [5, 5, 5, 5],
  training: { seed: 1 } as SpecialistWork['training'],
  backend: 'wasm',
};

test('a failure that concerns one specialist is told from one that is worth another try', async () => {
  const failures = failuresFolder(folder, work);
  await writeFailure(failures, 0, { code: 'training-diverged', message: 'the loss is infinite' });
  await writeFailure(failures, 1, { code: 'disk-full', message: 'no room' });
  await writeFailure(failures, 2, { code: null, message: 'a defect' });
  expect(await readFailure(failures, 0)).toEqual({ kind: 'failed', reason: 'the loss is infinite' });
  expect(await readFailure(failures, 1)).toEqual({ kind: 'lost', reason: 'no room' });
  expect(await readFailure(failures, 2)).toEqual({ kind: 'lost', reason: 'a defect' });
  await forgetFailure(failures, 0);
  expect(await readFailure(failures, 0)).toBeUndefined();
});

test('a torn file says nothing', async () => {
  const failures = failuresFolder(folder, work);
  await mkdir(failures, { recursive: true });
  await writeFile(join(failures, '3.json'), '{"code": "disk-');
  expect(await readFailure(failures, 3)).toBeUndefined();
});

test('what a job of earlier settings leaves is not taken for a failure of this work', async () => {
  const later = { ...work, labelCounts: [5, 5, 5, 6] };
  await writeFailure(failuresFolder(folder, work), 4, { code: 'subsets-invalid', message: 'no examples' });
  expect(await readFailure(failuresFolder(folder, later), 4)).toBeUndefined();
});
