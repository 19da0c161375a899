import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { classFolderOf, classNameFile } from './class-folder.js';
import { imageFolderSource } from './importers/image-folder.js';

test('a name that a folder can have is its folder, whatever its script', () => {
  for (const name of ['oak', '漢 U+6F22', 'Ñandú (female)', '100%', 'a: b?', 'very '.repeat(30).trim()])
    expect(classFolderOf(name)).toEqual({ folder: name, needsFile: false });
});

test('any other has a folder of its own, that is neither hidden nor a part nor too long', () => {
  const name = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 400 }),
    fc.constantFrom('..', '/', 'train', 'Val', ''),
  );
  fc.assert(
    fc.property(name, name, (one, other) => {
      const { folder, needsFile } = classFolderOf(one);
      expect(folder).toMatch(/^[^./\\\p{Cc}][^/\\\p{Cc}]*$/u);
      expect(folder).not.toMatch(/^(train|val|test)$/i);
      expect(Buffer.byteLength(folder)).toBeLessThan(256);
      if (!needsFile) expect(folder).toBe(one);
      if (one !== other) expect(classFolderOf(other).folder).not.toBe(folder);
    }),
  );
});

test('dataset reads the names back', async () => {
  const names = [
    '..',
    '.git',
    'and/or',
    'a\\b',
    'test',
    'train',
    'tab\there',
    '日本/語',
    'é'.repeat(200),
    'plain',
  ];
  const root = await mkdtemp(join(tmpdir(), 'kd-spec-class-folders-'));
  try {
    const png = await sharp({ create: { width: 4, height: 4, channels: 3, background: '#123' } })
      .png()
      .toBuffer();
    for (const name of names) {
      const { folder, needsFile } = classFolderOf(name);
      await mkdir(join(root, folder));
      await writeFile(join(root, folder, '0.png'), png);
      if (needsFile) await writeFile(join(root, folder, classNameFile), `${name}\n`);
    }
    const source = await imageFolderSource(root, { imageSize: 4, seed: 1 });
    expect(source.classes.toSorted()).toEqual(names.toSorted());
    const { leftOut, notes } = source.report?.() ?? {};
    expect(leftOut).toEqual([]);
    expect(notes).toContainEqual(
      expect.objectContaining({
        what: `classes named by the file ${classNameFile} of their folder`,
        count: names.length - 1,
      }),
    );
  } finally {
    await rm(root, { recursive: true });
  }
});
