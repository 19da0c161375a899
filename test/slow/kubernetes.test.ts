import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { jsonOf, kdSpec, startKdSpec } from '../fixtures/command-line.js';
import { copyOfTiny } from '../fixtures/tiny-workspace.js';

/** Training on Kubernetes, with this machine's processes for pods. */
const words = ['train-specialists', '--engine', 'kubernetes', '--specialist-epochs', '60'];
let folder: string;
beforeAll(async () => {
  folder = await copyOfTiny({ without: ['specialists', 'ensemble', 'report'] });
  const prepared = await kdSpec(words, { folder });
  expect(prepared.code).toBe(0);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const manifest = async () => jsonOf(await kdSpec(['jobs', 'manifest', '--json'], { folder }));

/** What the pod of an index runs. */
async function startPod(index: number) {
  const [program, ...command] = (await manifest()).spec.template.spec.containers[0].command;
  expect(program).toBe('kd-spec');
  const inPod = command.map((word: string) => (word === '/workspace' ? join(folder, 'kd-workspace') : word));
  return startKdSpec(inPod, { folder, env: { JOB_COMPLETION_INDEX: String(index) } });
}

test('a pod whose time is over keeps its checkpoint, and others train what is missing while somebody follows', {
  timeout: 240_000,
}, async () => {
  const following = startKdSpec(['jobs', 'follow', '--quiet', '--json'], { folder });
  const first = await startPod(0);
  const metrics = join(folder, 'kd-workspace', '.partial', 'specialists', '.partial', '0', 'metrics.jsonl');
  const epochs = async () => (await readFile(metrics, 'utf8').catch(() => '')).split('\n').length - 1;
  await expect.poll(epochs, { timeout: 30_000, interval: 20 }).toBeGreaterThan(2);
  first.child.kill('SIGTERM');
  const stopped = await first.finished;
  expect(stopped.code).toBe(75);
  expect(stopped.stderr).toMatch(/stopped at step \d+, checkpoint kept/);

  const { completions } = (await manifest()).spec;
  expect(completions).toBe(3);
  for (let index = 0; index < completions; index++) {
    const pod = await startPod(index);
    expect((await pod.finished).code).toBe(0);
  }
  expect(jsonOf(await following.finished).counts).toEqual({ done: 3 });
  const collected = await kdSpec([...words, '--wait', '--quiet'], { folder });
  expect(collected.code).toBe(0);
  expect(collected.stdout).toContain('by jobs of kubernetes');
});
