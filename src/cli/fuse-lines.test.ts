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

test.each([0, -1, '1'])('a weight that is not above 0 is named in words: %j', async (weight) => {
  const path = join(folder, 'weight.jsonl');
  const specialist = { classes: [0], probabilities: [0.5, 0.5], weight };
  await writeFile(path, JSON.stringify({ generalist: [0.25, 0.75], specialists: [specialist] }));
  await expect(fuseLines(path, 1)).rejects.toMatchObject({
    code: 'fusion-input',
    message:
      `${path}:1: specialists[0].weight: expected a number above 0, got ${JSON.stringify(weight)}; a specialist that is ` +
      'to count for nothing is left out',
  });
});

test.each([
  ['[1, 2]', 'expected an object, found a list'],
  ['{"generalist": [0.5, 0.5]}', 'specialists: expected a list, found nothing'],
  ['{"generalist": [0.5, "a"], "specialists": []}', 'generalist[1]: expected a number, found "a"'],
  ['{"generalist": [], "specialists": []}', 'generalist: expected a list of 1 or more, found an empty list'],
  [
    '{"generalist": [1], "specialists": [{"classes": [0.5], "probabilities": [1], "x": 1}], "y": 2}',
    'unknown key "y"; specialists[0]: unknown key "x"; specialists[0].classes[0]: expected a whole number, found 0.5',
  ],
  [
    '{"generalist": [1], "specialists": [{"classes": [-1], "probabilities": [1]}]}',
    'specialists[0].classes[0]: expected a number of 0 or more, found -1',
  ],
])('a line that is not as expected is told in plain words: %s', async (line, problem) => {
  const path = join(folder, 'lines.jsonl');
  await writeFile(path, `{"generalist": [1], "specialists": []}\n${line}\n`);
  await expect(fuseLines(path, 1)).rejects.toMatchObject({
    code: 'fusion-input',
    message: `${path}:2: expected {"generalist": [...], "specialists": [{"classes": [...], "probabilities": [...]}]}: ${problem}`,
  });
});
