import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fuseLines } from './fuse-lines.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-fuse-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('a byte order mark is read, and a file of another kind is named', async () => {
  const path = join(folder, 'a.jsonl');
  await writeFile(path, '\ufeff{"generalist": [0.25, 0.75], "specialists": []}\r\n');
  expect((await fuseLines(path, 1))[0].probabilities).toEqual([0.25, 0.75]);
  await writeFile(path, 'version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n');
  await expect(fuseLines(path, 1)).rejects.toMatchObject({
    code: 'fusion-input',
    message: expect.stringMatching(/Git LFS pointer/),
  });
});
