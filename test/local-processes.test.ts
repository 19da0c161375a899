import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { sabotage } from './fixtures/sabotage.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';

/**
 * Whether `train-specialists` trains in itself or in child processes that it watches over, seen by an accident that can
 * happen to child processes alone.
 */
const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

const crash = 'process.exit(9);';
const hangOnce = 'if (!existsSync(mark)) { writeFileSync(mark, ""); for (;;); }';
const hog = 'globalThis.hog = Buffer.alloc(900_000_000, 1); for (;;);';

async function trainWith(accident: string, ...flags: string[]) {
  const folder = await copyOfTiny({ without: ['specialists', 'ensemble', 'report'] });
  folders.push(folder);
  const env = { NODE_OPTIONS: await sabotage(join(folder, 'accident.mjs'), 1, accident) };
  return kdSpec(['train-specialists', '--quiet', '--json', ...flags], { folder, env });
}

test('without a word about processes the command trains by itself', async () => {
  expect(jsonOf(await trainWith(crash))).toMatchObject({ engine: 'local', workers: 1, specialists: 3 });
});

test('--parallel 1 is a child process, which may crash without the others', async () => {
  const { code, stderr } = await trainWith(crash, '--parallel', '1');
  expect(code).toBe(1);
  expect(stderr).toContain(
    'specialist 1: lost 3 times, the last time because its process ended with exit code 9',
  );
  expect(stderr).toContain('1 of 3 specialists failed; the others are kept');
});

test('--hang-seconds alone makes a process that can be ended', async () => {
  const trained = await trainWith(hangOnce, '--hang-seconds', '10');
  expect(trained.code).toBe(0);
  expect(trained.stderr).toBe(
    'warning: specialist 1: its process made no progress for 10 s and was ended (--hang-seconds sets the limit); trying again\n',
  );
});

test.runIf(process.platform === 'linux')('so does --worker-memory', async () => {
  const { code, stderr } = await trainWith(hog, '--worker-memory', '700');
  expect(code).toBe(1);
  expect(stderr).toMatch(/specialist 1: lost 3 times, .* ended for its memory: \d+ MB, of a share of 700 MB/);
});
