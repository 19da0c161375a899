import { chmod, mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { dropLeftoversOf, expectWritable } from './atomic-file.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-writable-'));
  await writeFile(join(folder, 'file'), '');
  await mkdir(join(folder, 'inner'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('what can be written is not touched, and no folder is made on the way', async () => {
  await expectWritable(join(folder, 'file'), 'file');
  await expectWritable(join(folder, 'inner'), 'folder');
  await expectWritable(join(folder, 'new', 'newer', 'file'), 'file');
  await expectWritable(join(folder, 'new', 'newer'), 'folder');
  expect((await readdir(folder)).sort()).toEqual(['file', 'inner']);
});

test.each([
  ['inner', 'file', /expected a file to write at .*inner, found a folder/],
  ['file', 'folder', /expected a folder to write at .*file, found a file/],
  [join('file', 'on the way'), 'file', /expected a folder, found a file on the way \(ENOTDIR\)/],
] as const)('%s as a %s is refused', async (name, kind, message) => {
  await expect(expectWritable(join(folder, name), kind)).rejects.toMatchObject({
    code: 'not-readable',
    message: expect.stringMatching(message),
  });
});

// Root may write anywhere.
test.skipIf(process.getuid?.() === 0 || process.platform === 'win32')(
  'a folder that may not be written to is refused',
  async () => {
    await chmod(join(folder, 'inner'), 0o500);
    await expect(expectWritable(join(folder, 'inner', 'file'), 'file')).rejects.toMatchObject({
      code: 'not-readable',
      message: expect.stringMatching(/permission denied/),
    });
  },
);

test('of a file that a killed process was writing the part goes, and what is still being written stays', async () => {
  const gone = 2 ** 22 + 1; // more than a process identifier can be
  const old = new Date(Date.now() - 20 * 60 * 1000);
  const leave = async (name: string, at: Date) => {
    await writeFile(join(folder, name), '');
    await utimes(join(folder, name), at, at);
  };
  for (const name of ['model.onnx', 'model.onnx.data', 'other.onnx'])
    await leave(`${name}.${gone}.partial`, old);
  await leave(`model.onnx.${process.pid}.partial`, old);
  await leave(`model.onnx.${gone + 1}.partial`, new Date()); // of another machine, perhaps
  await dropLeftoversOf(join(folder, 'model.onnx'));
  await dropLeftoversOf(join(folder, 'nowhere', 'model.onnx'));
  expect((await readdir(folder)).filter((name) => name.endsWith('.partial')).sort()).toEqual(
    [
      `model.onnx.${process.pid}.partial`,
      `model.onnx.${gone + 1}.partial`,
      `other.onnx.${gone}.partial`,
    ].sort(),
  );
});
