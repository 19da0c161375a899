import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ArchivedFile, tarArchive } from '../../../test/support/tar-archive.js';
import { type DatasetSource, type SplitName, splitNames } from '../source.js';
import { recognise } from './importers.js';
import { tarEntries } from './tar.js';
import { webDatasetSource } from './web-dataset.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-tar-'));
});
afterAll(() => rm(root, { recursive: true }));

const grey = (value: number) =>
  sharp({ create: { width: 4, height: 4, channels: 3, background: { r: value, g: value, b: value } } })
    .png()
    .toBuffer();

let made = 0;
async function folder(archives: Readonly<Record<string, readonly ArchivedFile[]>>): Promise<string> {
  const directory = join(root, String(made++));
  for (const [name, files] of Object.entries(archives)) {
    const path = join(directory, name);
    await mkdir(dirname(path), { recursive: true });
    const bytes = tarArchive(files);
    await writeFile(path, name.endsWith('gz') ? gzipSync(bytes) : bytes);
  }
  return directory;
}

/** Samples of grey images `from` to `to`; the other files of each are made of its number. */
async function samples(
  from: number,
  to: number,
  others: (k: number) => Readonly<Record<string, string>>,
): Promise<readonly ArchivedFile[]> {
  const files: ArchivedFile[] = [];
  for (let k = from; k < to; k++) {
    files.push({ name: `./d/${String(k).padStart(6, '0')}.png`, content: await grey(k) });
    for (const [ending, content] of Object.entries(others(k)))
      files.push({ name: `./d/${String(k).padStart(6, '0')}.${ending}`, content });
  }
  return files;
}

const open = (source: string, more = {}) => webDatasetSource(source, { imageSize: 8, seed: 1, ...more });
const none = { validationFraction: 0, testFraction: 0 };

/** The grey and the class of every image of a split, in the order in which they come. */
async function shown(source: DatasetSource, split: SplitName): Promise<readonly string[]> {
  const images = [];
  for await (const { pixels, label } of source.images(split))
    images.push(`${pixels[0]} ${source.classes[label]}`);
  expect(images).toHaveLength(source.count(split));
  return images;
}
const sorted = (images: readonly string[]) =>
  images.toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
const expected = (from: number, to: number, label: (k: number) => string | number) =>
  Array.from({ length: to - from }, (_, k) => `${from + k} ${label(from + k)}`);

test.each(['tar', 'tar.gz', 'tgz'])(
  'shards .%s by part, shuffled; classes are whole numbers by size',
  async (ending) => {
    const cls = (k: number) => ({ cls: `${2 * (k % 6)}\n` });
    const directory = await folder({
      [`set-train-000.${ending}`]: await samples(0, 30, cls),
      [`set-train-001.${ending}`]: await samples(30, 60, cls),
      [`set-val-000.${ending}`]: await samples(60, 70, cls),
      [`set-test-000.${ending}`]: await samples(70, 80, cls),
    });
    expect((await recognise(directory)).name).toBe('web-dataset');
    const source = await open(directory);
    expect(source.classes).toEqual(['0', '2', '4', '6', '8', '10']);
    const train = await shown(source, 'train');
    expect(sorted(train)).toEqual(expected(0, 60, (k) => 2 * (k % 6)));
    expect(train).not.toEqual(sorted(train));
    expect(await shown(await open(directory), 'train')).toEqual(train);
    expect(sorted(await shown(source, 'validation'))).toEqual(expected(60, 70, (k) => 2 * (k % 6)));
    expect(sorted(await shown(source, 'test'))).toEqual(expected(70, 80, (k) => 2 * (k % 6)));
  },
);

test('labels of .json, of .txt, and those that are chosen; groups of .json and of the key', async () => {
  const name = (k: number) => ['ash', 'oak'][k % 2];
  const directory = await folder({
    'a.tar': await samples(0, 40, (k) => ({
      json: JSON.stringify({ label: name(k), vendor: `v${k >> 2}`, size: k % 3, box: [1, 2] }),
      txt: `c${k % 2}`,
    })),
  });
  const path = join(directory, 'a.tar');
  expect(sorted(await shown(await open(path, none), 'train'))).toEqual(expected(0, 40, name));
  const sizes = await open(path, { ...none, labelColumn: 'size' });
  expect(sorted(await shown(sizes, 'train'))).toEqual(expected(0, 40, (k) => k % 3));
  const texts = await open(path, { ...none, labelColumn: 'txt' });
  expect(sorted(await shown(texts, 'train'))).toEqual(expected(0, 40, (k) => `c${k % 2}`));
  await expect(open(path, { labelColumn: 'kind' })).rejects.toThrow(
    /label, vendor, size.*\.png, \.json, \.txt/,
  );
  for (const [group, of] of [
    ['vendor', (k: number) => k >> 2],
    ['(\\d)\\d$', (k: number) => Math.floor(k / 10)],
  ] as const) {
    const source = await open(path, { group, validationFraction: 0.2, testFraction: 0.2 });
    const groups: Set<number>[] = [];
    for (const split of splitNames)
      groups.push(new Set((await shown(source, split)).map((text) => of(Number.parseInt(text, 10)))));
    expect(groups.every(({ size }) => size > 0)).toBe(true);
    expect(groups.reduce((sum, { size }) => sum + size, 0)).toBe(
      new Set(Array.from({ length: 40 }, (_, k) => of(k))).size,
    );
  }
});

test('what is not taken is counted', async () => {
  const files = await samples(0, 4, (k) => (k === 2 ? {} : { cls: String(k % 2) }));
  const directory = await folder({
    'x.tar': [
      { name: 'd', content: '', kind: '5' },
      ...files,
      { name: 'd/alone.cls', content: '1' },
      { name: 'd/._hidden.png', content: 'x' },
      { name: 'd/broken.png', content: 'no image' },
      { name: 'd/broken.cls', content: '0' },
    ],
  });
  const source = await open(directory, { ...none, onError: 'skip' });
  const images = [];
  for (const split of splitNames) for await (const image of source.images(split)) images.push(image);
  expect(images).toHaveLength(3);
  expect(source.report?.().leftOut.map(({ what, count }) => [what, count])).toEqual([
    ['hidden files, and files without an ending', 1],
    ['samples without an image', 1],
    ['rows without a label', 1],
    ['images that cannot be read (image-unreadable)', 1],
  ]);
});

test('long names: of GNU, of pax, and with a prefix', async () => {
  const long = `${'deep/'.repeat(40)}000001`;
  const content = await grey(1);
  const record = ` path=${long}.png\n`;
  const length = record.length + 3;
  const directory = await folder({
    'long.tar': [
      { name: '././@LongLink', content: `${long}.cls\0`, kind: 'L' },
      { name: 'cut', content: '7' },
      { name: 'PaxHeader', content: `${length}${record}`, kind: 'x' },
      { name: 'cut', content },
    ],
  });
  expect(await shown(await open(directory, none), 'train')).toEqual(['1 7']);
});

test.each([
  ['an absolute name', [{ name: '/etc/x.png', content: '' }], /names do not lead out/],
  ['a name that leads up', [{ name: 'a/../../x.png', content: '' }], /names do not lead out/],
  ['a link', [{ name: 'x.png', content: '', kind: '2' as const }], /is a link.*--dereference/],
  ['a hard link', [{ name: 'x.png', content: '', kind: '1' as const }], /is a link/],
  [
    'no labels',
    [{ name: 'ash/1.png', content: '' }],
    /label of an image in \.cls.*if its folders are the classes/,
  ],
  [
    'a label of another ending',
    [
      { name: '1.png', content: '' },
      { name: '1.index', content: '3' },
    ],
    /found \.png, \.index of the sample 1: .*name its ending with --label-column/,
  ],
  ['nothing', [], /found nothing/],
])('%s is refused', async (_, files, message) => {
  const directory = await folder({ 'x.tar': files });
  await expect(open(directory)).rejects.toMatchObject({
    code: 'dataset-invalid',
    message: expect.stringMatching(message),
  });
});

test('a compressed archive that ends within a file is refused when that file is read', async () => {
  const content = Buffer.from(Array.from({ length: 3000 }, (_, k) => (k * k * 31 + (k >> 3)) % 251)); // hardly shrinks
  const path = join(root, 'short.tar.gz');
  await writeFile(path, gzipSync(tarArchive([{ name: 'a.png', content }])).subarray(0, 300));
  const contents = async () => {
    for await (const entry of tarEntries(path)) await entry.content();
  };
  await expect(contents()).rejects.toMatchObject({
    name: 'KdSpecError',
    code: 'shard-truncated',
    message: expect.stringContaining('ends within its compressed data'),
  });
  let thrown: unknown;
  for await (const entry of tarEntries(path)) {
    thrown = await entry.content().catch((error: unknown) => error);
    break;
  }
  expect(thrown).toMatchObject({ name: 'KdSpecError', code: 'shard-truncated' });
});

test('an archive that ends early, is damaged, or announces more than it holds', async () => {
  const whole = tarArchive(await samples(0, 2, () => ({ cls: '0' })));
  const path = join(root, 'damaged.tar');
  const entries = async (bytes: Uint8Array) => {
    await writeFile(path, bytes);
    const names = [];
    for await (const { name } of tarEntries(path)) names.push(name);
    return names;
  };
  expect(await entries(whole)).toHaveLength(4);
  expect(await entries(whole.subarray(0, -1024))).toHaveLength(4); // as some writers end it
  await expect(entries(whole.subarray(0, 700))).rejects.toMatchObject({ code: 'shard-truncated' });
  await expect(entries(gzipSync(whole).subarray(0, 100))).rejects.toMatchObject({ code: 'shard-truncated' });
  const flipped = Buffer.from(whole);
  flipped[3] ^= 1;
  await expect(entries(flipped)).rejects.toMatchObject({ code: 'shard-corrupt' });
  await expect(entries(Buffer.from('PK\x03\x04'))).rejects.toMatchObject({ code: 'dataset-invalid' });
  for (const packed of [false, true]) {
    const huge = tarArchive([{ name: 'x.cls', content: '' }]);
    huge.write('77777777777', 124, 'latin1'); // 8 GiB
    huge.write('        ', 148, 'latin1');
    const sum = huge.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    huge.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    await expect(entries(packed ? gzipSync(huge) : huge)).rejects.toMatchObject({ code: 'shard-truncated' });
  }
});
