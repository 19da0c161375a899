import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  failuresFolder,
  forgetFailure,
  jobsFolder,
  readFailure,
  readWork,
  workDigest,
  writeFailure,
  writeWork,
} from './jobs-folder.js';
import type { SpecialistWork } from './specialist-work.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-work-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const workIn = (workspace: string): SpecialistWork => ({
  directory: join(workspace, '.partial', 'specialists'),
  generalist: join(workspace, 'generalist'),
  dataset: join(workspace, 'dataset'),
  inputs: { generalist: 'a', dataset: 'b' },
  subsets: [{ id: 0, classes: [3, 1] }],
  labelCounts: [5, 5, 5, 5],
  features: { folder: join(workspace, '.partial', 'features'), views: 2 },
  training: { seed: 1, epochs: 2 } as SpecialistWork['training'],
  backend: 'wasm',
});

test('work that was written is read again, also where the workspace is mounted elsewhere', async () => {
  const [here, there] = [join(root, 'here'), join(root, 'there')];
  await writeWork(jobsFolder(here), workIn(here));
  expect(await readWork(jobsFolder(here))).toEqual(workIn(here));
  await cp(here, there, { recursive: true });
  expect(await readWork(jobsFolder(there))).toEqual(workIn(there));
  expect(workDigest(workIn(there))).toBe(workDigest(workIn(here)));
  expect(workDigest(await readWork(jobsFolder(there)))).toBe(workDigest(workIn(here)));
});

test('other training is other work', () => {
  const work = workIn(root);
  expect(workDigest({ ...work, labelCounts: [5, 5, 5, 6] })).not.toBe(workDigest(work));
});

test('no work and damaged work are told apart', async () => {
  await expect(readWork(join(root, 'nowhere'))).rejects.toMatchObject({ code: 'not-found' });
  await writeFile(join(root, 'work.json'), '{"directory": ');
  await expect(readWork(root)).rejects.toMatchObject({ code: 'artefact-corrupt' });
});

test('a failure that concerns one specialist is told from one that is worth another try', async () => {
  const work = workIn(root);
  const failures = failuresFolder(root, work);
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
  const work = workIn(root);
  const failures = failuresFolder(root, work);
  await mkdir(failures, { recursive: true });
  await writeFile(join(failures, '3.json'), '{"code": "disk-');
  expect(await readFailure(failures, 3)).toBeUndefined();
});

test('what a job of earlier settings leaves is not taken for a failure of this work', async () => {
  const work = workIn(root);
  const later = { ...work, labelCounts: [5, 5, 5, 6] };
  await writeFailure(failuresFolder(root, work), 4, { code: 'subsets-invalid', message: 'no examples' });
  expect(await readFailure(failuresFolder(root, later), 4)).toBeUndefined();
});
