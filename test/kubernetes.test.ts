import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';

/** Settings and manifest of a training on Kubernetes; test/slow/kubernetes.test.ts runs its pods, test/python holds the manifest to the schemas. */
const words = ['train-specialists', '--engine', 'kubernetes', '--specialist-epochs', '60'];
let folder: string;
beforeAll(async () => {
  folder = await copyOfTiny({ without: ['specialists', 'ensemble', 'report'] });
  const prepared = await kdSpec(words, { folder });
  expect(prepared.code).toBe(0);
  expect(prepared.stderr).toContain('kd-spec jobs manifest | kubectl apply -f -');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const manifest = async (...flags: string[]) =>
  jsonOf(await kdSpec(['jobs', 'manifest', '--json', ...flags], { folder }));

test('a pod has a time limit if one is given, as for Slurm', async () => {
  expect((await manifest()).spec.template.spec).not.toHaveProperty('activeDeadlineSeconds');
  const { spec } = await manifest('--time', '4:00:00');
  expect(spec.template.spec.activeDeadlineSeconds).toBe(4 * 3600);
  expect(spec).not.toHaveProperty('activeDeadlineSeconds'); // which would limit all pods together
});

test.each([
  ['--time=soon', '--time: expected a time such as 90 (minutes) or 4:00:00, got "soon"'],
  ['--time=0', '--time: expected a time such as 90 (minutes) or 4:00:00, got "0"'],
  ['--memory=much', '--memory: expected a quantity such as 8Gi, got "much"'],
  ['--gpus=-1', '--gpus: expected an integer of 0 or more, got "-1"'],
  ['--name=Specialists', '--name: expected lower case letters, digits and dashes, got "Specialists"'],
  ['--engine=slurm', '--engine: expected kubernetes, got "slurm"'],
])('%s is refused', async (flag, message) => {
  const ended = await kdSpec(['jobs', 'manifest', flag], { folder });
  expect(ended).toMatchObject({ code: 2, stdout: '' });
  expect(ended.stderr).toContain(message);
});

test('a command that needs the specialists meanwhile is not done yet', async () => {
  const ended = await kdSpec(['calibrate', '--quiet'], { folder });
  expect(ended).toMatchObject({ code: 75, stdout: '' });
  expect(ended.stderr).toMatch(/^0 of 3 specialists are done .*: kd-spec jobs follow waits for them/);
});
