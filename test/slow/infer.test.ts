import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { kdSpecProcess } from '../fixtures/command-line.js';
import { tinyFolder } from '../fixtures/tiny-workspace.js';
import { vastPng } from '../support/vast-png.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-infer-'));
  await symlink(join(tinyFolder(), 'kd-workspace'), join(folder, 'kd-workspace'));
  const grey = { create: { width: 16, height: 16, channels: 3, background: '#999' } } as const;
  await sharp(grey).png().toFile(join(folder, 'image.png'));
  await writeFile(join(folder, 'vast.png'), vastPng(20_000));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test.runIf(process.platform === 'linux')(
  'an image that would take 400 MB decoded is refused soon and without much memory',
  async () => {
    // VmHWM, the largest resident set so far, as the process itself sees it when it ends.
    const hook = join(folder, 'peak.mjs');
    await writeFile(
      hook,
      "import { readFileSync } from 'node:fs';\n" +
        "process.on('exit', () => console.error(readFileSync('/proc/self/status', 'utf8').match(/VmHWM:.*/)[0]));\n",
    );
    const measured = async (image: string) => {
      const started = performance.now();
      const env = { NODE_OPTIONS: `--import=${hook}` };
      const { code, stderr } = await kdSpecProcess(['infer', image], { folder, env });
      const seconds = (performance.now() - started) / 1000;
      return { code, seconds, megabytes: Number(/VmHWM:\s+(\d+) kB/.exec(stderr)?.[1]) / 1024 };
    };
    const good = await measured('image.png');
    const vast = await measured('vast.png');
    expect([good.code, vast.code]).toEqual([0, 1]);
    expect(good.megabytes).toBeGreaterThan(50);
    expect(vast.megabytes).toBeLessThan(good.megabytes + 100);
    expect(vast.seconds).toBeLessThan(good.seconds + 5);
  },
);

test('standard input that is no image is called by its name', async () => {
  const { stderr } = await kdSpecProcess(['infer', '-'], { folder, input: Buffer.from('no image') });
  expect(stderr).toMatch(/^error: .*standard input.*\ncode: image-unreadable\n$/);
});
