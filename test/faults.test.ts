import { execFileSync } from 'node:child_process';
import { readFile, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { kdSpec, type RunOptions } from './fixtures/command-line.js';
import { decisiveBytes, tinyCopies, tinyFolder } from './fixtures/tiny-workspace.js';

/** What the file system and the clock do to a workspace: clear errors, and nothing lost. More: test/slow/faults.test.ts. */
const workFolder = tinyCopies();
const mounts: string[] = [];
// Registered after the copies', this is called before.
afterAll(() => {
  for (const mount of mounts) execFileSync('umount', ['-l', mount]);
});

const run = (options: RunOptions, ...flags: string[]) =>
  kdSpec(['run', '--quiet', '--json', ...flags], options);

// Mounting needs root, as in a container; elsewhere the same errors come from the tests of core/file-error.ts.
const isRoot = process.getuid?.() === 0 && process.platform === 'linux';

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

describe('a clock that jumped', () => {
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
  expect(await decisiveBytes(workspace)).toEqual(await decisiveBytes(join(tinyFolder(), 'kd-workspace')));
});

test('a workspace whose first run was killed names the options to repeat', async () => {
  const folder = await workFolder(['generalist', 'report']);
  await rm(join(folder, 'kd-workspace', 'pipeline.yaml'), { force: true });
  await rm(join(folder, 'tiny.yaml'));
  const status = await kdSpec(['status'], { folder });
  expect(status.stdout).toMatch(
    /Next:\n {2}kd-spec run --\S+ \S+.* with the other options of the interrupted/,
  );
  const { code, stderr } = await kdSpec(['train-specialists'], { folder });
  expect(code).toBe(2);
  expect(stderr).toMatch(/of a command that was interrupted, .*: repeat them, --\S+ \S+/);
});
