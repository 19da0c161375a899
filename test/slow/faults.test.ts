import { execFileSync } from 'node:child_process';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kdSpec, kdSpecProcess, startKdSpec } from '../fixtures/command-line.js';
import { decisiveBytes, tinyCopies, tinyFolder } from '../fixtures/tiny-workspace.js';

/** Disks that fill up, clocks that jump and workspaces that move, while stages are at work. */
const workFolder = tinyCopies();
const mounts: string[] = [];
// Registered after the copies', this is called before.
afterAll(() => {
  for (const mount of mounts) execFileSync('umount', ['-l', mount]);
});

const made = ['generalist', 'predictions', 'subsets', 'specialists', 'ensemble', 'report'];

let expected: readonly string[];
beforeAll(async () => {
  expected = await decisiveBytes(join(tinyFolder(), 'kd-workspace'));
});

// Mounting needs root, as in a container; elsewhere the same errors come from the tests of core/file-error.ts.
const isRoot = process.getuid?.() === 0 && process.platform === 'linux';

describe.runIf(isRoot)('a disk that is full', () => {
  const mount = async (options: string): Promise<string> => {
    const place = join(await workFolder(), 'disk');
    await mkdir(place);
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', place]);
    mounts.push(place);
    return place;
  };

  test('stops the work with advice wherever it happens, and the same command goes on when there is room', async () => {
    const disk = await mount('size=64k');
    const workspace = join(disk, 'kd-workspace');
    const folder = join(disk, '..');
    const words = ['tiny.yaml', '--workspace', workspace, '--parallel', '2'];
    const stages = new Set<string>();
    let code: number | null = 1;
    for (let kilobytes = 64; code !== 0 && kilobytes < 131_072; kilobytes *= 2) {
      execFileSync('mount', ['-o', `remount,size=${kilobytes}k`, disk]);
      const ended = await kdSpecProcess(['run', '--quiet', '--json', ...words], { folder });
      code = ended.code;
      if (code === 0) break;
      expect(ended).toMatchObject({ code: 1, stdout: '' });
      expect(ended.stderr).toMatch(/no room left on the disk: free some, then run the same command again/);
      expect(ended.stderr).toMatch(/code: disk-full\n$/);
      stages.add(/\.partial\/(\w+)/.exec(ended.stderr)?.[1] ?? 'elsewhere');
    }
    expect(code).toBe(0);
    expect(stages.size, [...stages].join()).toBeGreaterThanOrEqual(2);
    expect(await decisiveBytes(workspace)).toEqual(expected);
  });
});

describe('a clock that jumps', () => {
  test.each([
    ['back by a year', -365],
    ['ahead by a year', 365],
  ])('%s in every other call makes nothing be taken for stale or damaged', async (_, days) => {
    const folder = await workFolder(made);
    const jump = join(folder, 'jump.mjs');
    await writeFile(
      jump,
      `const real = Date.now; let calls = 0;
       Date.now = () => real() + (calls++ % 2) * ${days} * 86_400_000;
       globalThis.Date = class extends Date { constructor(...values) { values.length ? super(...values) : super(Date.now()); } };`,
    );
    const env = { NODE_OPTIONS: `--import ${jump}` };
    const ended = await kdSpecProcess(['run', '--quiet', '--json', '--parallel', '2'], { folder, env });
    expect(ended).toMatchObject({ code: 0 });
    expect(await decisiveBytes(join(folder, 'kd-workspace'))).toEqual(expected);

    const again = JSON.parse((await kdSpec(['run', '--quiet', '--json'], { folder })).stdout);
    const statuses = Object.values<{ status: string }>(again.stages).map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set(['up-to-date']));
  });
});

describe('a workspace that was moved', () => {
  test('in the middle of a training goes on there, to the same weights', async () => {
    const folder = await workFolder(made);
    const words = [
      'train-generalist',
      '--quiet',
      '--epochs',
      '40',
      '--patience',
      'none',
      '--checkpoint-seconds',
      '1',
    ];
    const { child, finished } = startKdSpec(words, { folder });
    const log = join(folder, 'kd-workspace', '.partial', 'generalist', 'metrics.jsonl');
    await expect
      .poll(async () => (await readFile(log, 'utf8').catch(() => '')).split('\n').length, { timeout: 60_000 })
      .toBeGreaterThan(3);
    child.kill('SIGTERM');
    expect((await finished).code).toBe(75);

    const other = await workFolder(['dataset', ...made]);
    await rm(join(other, 'kd-workspace'), { recursive: true });
    await cp(join(folder, 'kd-workspace'), join(other, 'kd-workspace'), { recursive: true });
    const resumed = await kdSpec(
      words.filter((word) => word !== '--quiet'),
      { folder: other },
    );
    expect(resumed.stderr).toContain('generalist: going on with what was interrupted');
    expect((await kdSpec(words, { folder })).code).toBe(0);
    const model = (place: string) => readFile(join(place, 'kd-workspace', 'generalist', 'model.safetensors'));
    expect((await model(other)).equals(await model(folder))).toBe(true);
  });
});
