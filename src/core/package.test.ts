import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { installCommand } from './package.js';

test.each([
  [
    'a clone',
    'clone',
    ['clone/tsconfig.json'],
    (root: string) => `npm --prefix ${root}/clone install --no-save --save-optional a b`,
  ],
  ['a project', 'mine/node_modules/kd-spec', ['mine/package.json'], () => 'npm install a b'],
  ['all of a machine', 'lib/node_modules/kd-spec', [], () => 'npm install --global a b'],
])('what to type where kd-spec is installed in %s', async (_, place, files, expected) => {
  const root = await mkdtemp(join(tmpdir(), 'kd-spec-install-'));
  try {
    await mkdir(join(root, place), { recursive: true });
    for (const file of files) await writeFile(join(root, file), '{}');
    expect(installCommand(['a', 'b'], join(root, place))).toBe(expected(root));
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});
