import { execFileSync } from 'node:child_process';
import { cp, mkdir, readFile, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kdSpec, kdSpecProcess, type RunOptions, startKdSpec } from './fixtures/command-line.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';

/** What the file system and the clock do to a workspace: clear errors, and nothing lost. */
const folders: string[] = [];
const mounts: string[] = [];
afterAll(async () => {
  for (const mount of mounts) execFileSync('umount', ['-l', mount]);
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function workFolder(without: readonly string[] = []): Promise<string> {
  const folder = await copyOfTiny({ without });
  folders.push(folder);
  return folder;
}

const made = ['generalist', 'predictions', 'subsets', 'specialists', 'ensemble', 'report'];
/** The files that decide answers. */
const decisive = [
  'generalist/model.safetensors',
  'subsets/subsets.json',
  ...[0, 1, 2].map((id) => `specialists/${id}/model.safetensors`),
  'ensemble/ensemble.json',
];
const bytesOf = (workspace: string) =>
  Promise.all(decisive.map((path) => readFile(join(workspace, path), 'base64')));
const run = (options: RunOptions, ...flags: string[]) =>
  kdSpec(['run', '--quiet', '--json', ...flags], options);

let expected: string[];
beforeAll(async () => {
  expected = await bytesOf(join(await workFolder(), 'kd-workspace'));
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
      const ended = await run({ folder }, ...words);
      code = ended.code;
      if (code === 0) break;
      expect(ended).toMatchObject({ code: 1, stdout: '' });
      expect(ended.stderr).toMatch(/no room left on the disk: free some, then run the same command again/);
      expect(ended.stderr).toMatch(/code: disk-full\n$/);
      stages.add(/\.partial\/(\w+)/.exec(ended.stderr)?.[1] ?? 'elsewhere');
    }
    expect(code).toBe(0);
    expect(stages.size, [...stages].join()).toBeGreaterThanOrEqual(2);
    expect(await bytesOf(workspace)).toEqual(expected);
  });
});

describe.runIf(isRoot)('a read-only folder', () => {
  test('is named, and what it holds can still be looked at', async () => {
    const folder = await workFolder(['report']);
    const workspace = join(folder, 'kd-workspace');
    // Root writes whatever the mode bits say, so that the file system itself has to refuse.
    execFileSync('mount', ['--bind', workspace, workspace]);
    mounts.push(workspace);
    execFileSync('mount', ['-o', 'remount,bind,ro', workspace]);

    const ended = await run({ folder });
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toMatch(
      /kd-workspace\/\.lock: the file system is read-only: choose another place \(EROFS\)/,
    );
    expect(ended.stderr).toMatch(/code: not-readable\n$/);
    expect((await run({ folder }, '--dry-run')).code).toBe(0);
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
    expect(await bytesOf(join(folder, 'kd-workspace'))).toEqual(expected);

    const again = JSON.parse((await run({ folder })).stdout);
    const statuses = Object.values<{ status: string }>(again.stages).map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set(['up-to-date']));
  });

  test('does not hide a file that was changed and stamped with an old time', async () => {
    const folder = await workFolder();
    const path = join(folder, 'kd-workspace', 'subsets', 'subsets.json');
    const text = await readFile(path, 'utf8');
    await writeFile(
      path,
      text.replace(/\d(?=\])/, (digit) => String(9 - Number(digit))),
    );
    await utimes(path, new Date(0), new Date(0));
    const ended = await kdSpec(['cluster', '--dry-run'], { folder });
    expect(ended.stdout).toMatch(
      /subsets\s+make\s+its files are damaged: subsets\.json does not have the content/,
    );
  });
});

describe('a workspace that was moved', () => {
  test('is up to date in its new place, and names it', async () => {
    const folder = await workFolder();
    await rename(join(folder, 'kd-workspace'), join(folder, 'elsewhere'));
    const ended = await run({ folder }, '--workspace', 'elsewhere');
    expect(ended.code).toBe(0);
    const { stages } = JSON.parse(ended.stdout);
    for (const [name, stage] of Object.entries<{ status: string; directory: string }>(stages)) {
      expect(stage).toMatchObject({ status: 'up-to-date', directory: join(folder, 'elsewhere', name) });
    }
    expect(ended.stdout).not.toContain('kd-workspace/');
  });

  test('in the middle of a training goes on there, to the same weights', async () => {
    const folder = await workFolder(made);
    const words = ['train-generalist', '--quiet', '--epochs', '40', '--checkpoint-seconds', '1'];
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

test('a specialist that was cut off on the disk makes its stage be made again, to the same bytes', async () => {
  const folder = await workFolder();
  const workspace = join(folder, 'kd-workspace');
  await truncate(join(workspace, 'specialists', '1', 'model.safetensors'), 100);
  const dry = await kdSpec(['train-specialists', '--dry-run'], { folder });
  expect(dry.stdout).toMatch(
    /specialists\s+make\s+its files are damaged: 1\/model\.safetensors has 100 bytes/,
  );
  expect((await run({ folder })).code).toBe(0);
  expect(await bytesOf(workspace)).toEqual(expected);
});
