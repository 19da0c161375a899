import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SpecialistWork } from './specialist-work.js';
import { jobsFolder, readWork, workDigest, writeWork } from './work-file.js';

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
