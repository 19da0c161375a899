import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type DatasetSource, type LabelledImage, type SplitName, splitNames } from '../source.js';
import { imageTableSource } from './image-table.js';
import { recognise } from './importers.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-table-'));
});
afterAll(() => rm(root, { recursive: true }));

let made = 0;
/** A folder with these files; a number is an image of that grey, a text that begins with `-> ` a link. */
async function tree(files: Readonly<Record<string, string | number>>): Promise<string> {
  const directory = join(root, String(made++));
  for (const [name, content] of Object.entries(files)) {
    const path = join(directory, name);
    await mkdir(dirname(path), { recursive: true });
    if (typeof content === 'string') {
      if (content.startsWith('-> ')) await symlink(content.slice(3), path);
      else await writeFile(path, content);
      continue;
    }
    const background = { r: content, g: content, b: content };
    await sharp({ create: { width: 4, height: 4, channels: 3, background } })
      .png()
      .toFile(path);
  }
  return directory;
}

const greys = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, k) => [`images/${k}.png`, k]));
const open = (source: string, more = {}) => imageTableSource(source, { imageSize: 8, seed: 1, ...more });

async function all(source: DatasetSource, split: SplitName): Promise<readonly LabelledImage[]> {
  const images = [];
  for await (const image of source.images(split)) images.push(image);
  expect(images).toHaveLength(source.count(split));
  return images;
}

/** The grey and the class of every image of a split, sorted. */
async function shown(source: DatasetSource, split: SplitName): Promise<readonly string[]> {
  return (await all(source, split))
    .map(({ pixels, label }) => `${pixels[0]} ${source.classes[label]}`)
    .toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
}

test('a CSV file of paths and labels: quotes, a byte order mark, line ends of Windows', async () => {
  const lines = [
    '\ufefffile_name,label,note',
    'images/0.png,"elm, slippery","a ""b""\r\nc"',
    './images/1.png,oak,',
  ];
  const directory = await tree({ ...greys(2), 'list.csv': `${lines.join('\r\n')}\r\n\r\n` });
  const source = await open(join(directory, 'list.csv'), { validationFraction: 0, testFraction: 0 });
  expect(source.classes).toEqual(['elm, slippery', 'oak']);
  expect(await shown(source, 'train')).toEqual(['0 elm, slippery', '1 oak']);
});

test.each([
  ['list.tsv', 'path\tclass\nimages/0.png\t7\nimages/1.png\t10\n', undefined],
  ['list.csv', 'img;target\nimages/0.png;7\nimages/1.png;10\n', undefined],
  ['list.csv', 'images/0.png,7\nimages/1.png,10', 'a table without a header'],
  [
    'list.jsonl',
    '{"file_name":"images/0.png","label":7}\n\n{"file_name":"images/1.png","label":"10","x":[]}',
    undefined,
  ],
])('%s: %j, whole numbers by size', async (name, text, note) => {
  const directory = await tree({ ...greys(2), [name]: text });
  const source = await open(join(directory, name), { validationFraction: 0, testFraction: 0 });
  expect(source.classes).toEqual(['7', '10']);
  expect(await shown(source, 'train')).toEqual(['0 7', '1 10']);
  const notes = source.report?.().notes.map(({ what }) => what) ?? [];
  expect(notes.some((what) => note !== undefined && what.startsWith(note))).toBe(note !== undefined);
});

test('metadata.csv in each part, in the folder with a column split, and a table for each part', async () => {
  const pictures = (folder: string, from: number) => ({
    [`${folder}/a.png`]: from,
    [`${folder}/b.png`]: from + 1,
  });
  const rows = 'file_name,label\na.png,x\nb.png,y\n';
  const parts = await tree({
    ...pictures('train', 0),
    'train/metadata.csv': rows,
    ...pictures('Valid', 2),
    'Valid/metadata.csv': rows,
    ...pictures('test', 4),
    'test/metadata.jsonl': '{"file_name":"a.png","label":"x"}\n{"file_name":"b.png","label":"y"}',
  });
  const column = await tree({
    ...greys(7),
    'metadata.csv':
      'split,label,file_name\ntrain,x,images/0.png\ntrain,y,images/1.png\nval,x,images/2.png\nval,y,images/3.png\n' +
      'test,x,images/4.png\ntest,y,images/5.png\nunused,y,images/6.png\n',
  });
  const apart = await tree({
    ...greys(6),
    'train.csv': 'file,label\nimages/0.png,x\nimages/1.png,y\n',
    'dev.csv': 'file,label\nimages/2.png,x\nimages/3.png,y\n',
    'test.csv': 'file,label\nimages/4.png,x\nimages/5.png,y\n',
  });
  for (const directory of [parts, column, apart]) {
    const source = await open(directory);
    expect(await shown(source, 'train')).toEqual(['0 x', '1 y']);
    expect(await shown(source, 'validation')).toEqual(['2 x', '3 y']);
    expect(await shown(source, 'test')).toEqual(['4 x', '5 y']);
  }
  const report = (await open(column)).report?.();
  expect(report?.leftOut).toEqual([
    { what: 'rows whose column split names no part', count: 1, example: `${join(column, 'metadata.csv')}:8` },
  ]);
});

test('a column split of other words is passed over with a word', async () => {
  const lines = [0, 1, 2, 3].map((k) => `images/${k}.png,${'xy'[k % 2]},fold${k % 2}`);
  const directory = await tree({ ...greys(4), 'folds.csv': ['file,label,split', ...lines].join('\n') });
  const path = join(directory, 'folds.csv');
  expect((await open(path)).report?.().notes).toContainEqual({
    what: 'a column split whose first value is no part (train, validation, test) was passed over',
    count: 1,
    example: path,
  });
});

test('columns are chosen by name, and asked for where there are several', async () => {
  const text = 'a,b,where\nimages/0.png,x,1\nimages/1.png,y,2\n';
  const directory = await tree({ ...greys(2), 'list.csv': text });
  const path = join(directory, 'list.csv');
  await expect(open(path)).rejects.toMatchObject({
    code: 'dataset-invalid',
    message: expect.stringMatching(/columns a, b, where.*--image-column/),
  });
  await expect(open(path, { imageColumn: 'a' })).rejects.toThrow(/b, where could be it.*--label-column/);
  const source = await open(path, { imageColumn: 'a', labelColumn: 'where' });
  expect(source.classes).toEqual(['1', '2']);
});

test('classes by name from a file; labels are its lines, or its names', async () => {
  const names = { 'names.txt': 'ash\nbeech\ncedar\n' };
  const numbers = await tree({
    ...greys(2),
    ...names,
    'list.csv': 'path,label\nimages/0.png,2\nimages/1.png,0\n',
  });
  const texts = await tree({
    ...greys(2),
    ...names,
    'list.csv': 'path,label\nimages/0.png,cedar\nimages/1.png,ash\n',
  });
  for (const directory of [numbers, texts]) {
    const options = { classNames: join(directory, 'names.txt'), validationFraction: 0, testFraction: 0 };
    const source = await open(join(directory, 'list.csv'), options);
    expect(source.classes).toEqual(['ash', 'beech', 'cedar']);
    expect(await shown(source, 'train')).toEqual(['0 cedar', '1 ash']);
  }
  await writeFile(join(texts, 'names.txt'), 'ash\nbeech\n');
  const missing = open(join(texts, 'list.csv'), { classNames: join(texts, 'names.txt') });
  await expect(missing).rejects.toThrow(/"cedar".*none of the 2 classes of --class-names/);
});

test.each([
  ['/etc/passwd', {}],
  ['../0/images/0.png', {}],
  ['images/../../x.png', {}],
  ['C:\\x.png', {}],
  ['out/0.png', { out: '-> /tmp' }],
  ['link.png', { 'link.png': '-> /dev/zero' }],
])('a path that leads out of the folder is refused: %s', async (name, files) => {
  const directory = await tree({
    ...greys(1),
    ...files,
    'list.csv': `path,label\nimages/0.png,x\n"${name}",y\n`,
  });
  await expect(open(join(directory, 'list.csv'))).rejects.toMatchObject({
    code: 'dataset-invalid',
    message: expect.stringMatching(/list\.csv:3: .*(below the folder|leads out)/),
  });
});

test('numbers that count the lines of --class-names from 1 are told, and what cannot be such is refused', async () => {
  const list = (first: number) => [0, 1, 2].map((k) => `images/${k}.png,${k + first}\n`).join('');
  const directory = await tree({
    ...greys(3),
    'from-0.csv': `file_name,label\n${list(0)}`,
    'from-1.csv': `file_name,label\n${list(1)}`,
    'from-2.csv': `file_name,label\n${list(2)}`,
    'names.txt': 'ash\noak\nelm\n',
  });
  const options = { classNames: join(directory, 'names.txt'), validationFraction: 0, testFraction: 0 };
  const from = (first: number) => open(join(directory, `from-${first}.csv`), options);
  for (const first of [0, 1]) {
    const source = await from(first);
    expect(await shown(source, 'train')).toEqual(['0 ash', '1 oak', '2 elm']);
    const warnings = source.report?.().notes.filter(({ isWarning }) => isWarning);
    expect(warnings).toMatchObject(
      first === 0 ? [] : [{ what: expect.stringMatching(/count from 1, as 3/), count: 3 }],
    );
  }
  await writeFile(join(directory, 'part.csv'), 'file_name,label\nimages/0.png,1\nimages/1.png,2\n');
  const part = (numbersFrom: 0 | 1 | undefined) =>
    open(join(directory, 'part.csv'), { ...options, numbersFrom });
  expect(await shown(await part((await from(1)).numbersFrom), 'train')).toEqual(['0 ash', '1 oak']);
  for (const others of [(await from(0)).numbersFrom, undefined])
    expect(await shown(await part(others), 'train')).toEqual(['0 oak', '1 elm']);
  await expect(from(2)).rejects.toThrow(/"3".*none of the 3 classes|"4".*none of the 3 classes/);
});

test('addresses are no files, and absolute paths are to be written from the folder', async () => {
  const directory = await tree({
    ...greys(1),
    'a.csv': 'path,label\nhttps://example.org/0.png,x\n',
  });
  await expect(open(join(directory, 'a.csv'))).rejects.toThrow(
    /a\.csv:2: .*address "https:.*fetch the images/,
  );
  await writeFile(join(directory, 'b.csv'), `path,label\n${join(directory, 'images/0.png')},x\n`);
  await expect(open(join(directory, 'b.csv'))).rejects.toThrow(/b\.csv:2: .*write paths from there/);
});

test('files that are missing stop the import with all their names, or are left out', async () => {
  const text = 'path,label\nimages/0.png,x\ngone.png,x\nlost.png,x\nimages/1.png,\n';
  const directory = await tree({ ...greys(2), 'list.csv': text });
  const read = async (onError: 'stop' | 'skip') => {
    const source = await open(join(directory, 'list.csv'), { onError });
    for (const split of splitNames) for await (const _ of source.images(split));
    return source.report?.();
  };
  await expect(read('stop')).rejects.toThrow(/2 images cannot be read.*gone\.png.*lost\.png/s);
  expect((await read('skip'))?.leftOut.map(({ what, count }) => [what, count])).toEqual([
    ['rows without a label', 1],
    ['images that cannot be read (not-found)', 2],
  ]);
});

test('groups stay on one side: a column, or a part of the path', async () => {
  const files: Record<string, number> = {};
  const rows = ['path,label,vendor'];
  for (let vendor = 0; vendor < 20; vendor++) {
    for (let k = 0; k < 6; k++) {
      files[`images/v${vendor}_${k}.png`] = vendor;
      rows.push(`images/v${vendor}_${k}.png,c${k % 3},v${vendor}`);
    }
  }
  const directory = await tree({ ...files, 'list.csv': rows.join('\n') });
  for (const group of ['vendor', '([^/_]+)_[^/]*$']) {
    const options = { group, validationFraction: 0.15, testFraction: 0.2 };
    const source = await open(join(directory, 'list.csv'), { ...options, labelColumn: 'label' });
    const vendors = [];
    for (const split of splitNames) {
      const images = await all(source, split);
      expect(images).toHaveLength({ train: 78, validation: 18, test: 24 }[split]);
      vendors.push(new Set(images.map(({ pixels }) => pixels[0])));
    }
    expect(vendors.reduce((sum, { size }) => sum + size, 0)).toBe(20);
  }
  await expect(open(join(directory, 'list.csv'), { group: 'maker' })).rejects.toThrow(
    /column "maker".*--group/,
  );
  await expect(open(join(directory, 'list.csv'), { group: '(a)(b)' })).rejects.toMatchObject({
    code: 'option-invalid',
  });
});

test.each([
  ['', /expected a table of texts.*empty/],
  ['path,label\n"images/0.png,x\n', /:2: a quote opens here/],
  ['path,label\nimages/0.png,x,y\n', /:2: expected 2 cells/],
  ['path,path\nimages/0.png,x\n', /"path" twice/],
  ['path,label\nimages/0.png,\n', /labelled rows/],
  ['version https://git-lfs.github.com/spec/v1', /Git LFS/],
])('a damaged table is refused: %j', async (text, message) => {
  const directory = await tree({ ...greys(1), 'list.csv': text });
  await expect(open(join(directory, 'list.csv'))).rejects.toMatchObject({
    code: 'dataset-invalid',
    message: expect.stringMatching(message),
  });
});

test('a table beside class folders that names no files leaves them to the importer of folders', async () => {
  const directory = await tree({
    'ash/a.png': 1,
    'oak/b.png': 2,
    'metadata.csv': 'class,latin\nash,Fraxinus\n',
  });
  expect((await recognise(directory)).name).toBe('image-folder');
  await writeFile(join(directory, 'metadata.csv'), 'file_name,label\nash/a.png,x\n');
  expect((await recognise(directory)).name).toBe('image-table');
  expect((await recognise(join(directory, 'metadata.csv'))).name).toBe('image-table');
  await expect(recognise(join(directory, 'ash', 'a.png'))).rejects.toMatchObject({ code: 'not-found' });
});

test('numbers with a fraction are names of classes, with a word', async () => {
  const rows = [0, 1, 2, 3].map((k) => `{"image": "images/${k}.png", "label": ${[0.5, 1][k % 2]}}`);
  const source = await open(join(await tree({ 'list.jsonl': rows.join('\n'), ...greys(4) }), 'list.jsonl'));
  expect(source.classes).toEqual(['0.5', '1']);
  expect(source.report?.()?.notes).toContainEqual(
    expect.objectContaining({ what: expect.stringContaining('with a fraction'), count: 2, example: '0.5' }),
  );
});

test('groups that no row has are refused, and few rows without one are noted', async () => {
  const rows = Array.from(
    { length: 20 },
    (_, k) => `images/${k}.png,${'xy'[k % 2]},${k === 3 ? '' : k >> 1},`,
  );
  const text = ['path,label,vendor,maker', ...rows].join('\n');
  const path = join(await tree({ ...greys(20), 'list.csv': text }), 'list.csv');
  const of = (group: string) => open(path, { group, labelColumn: 'label' });
  await expect(of('maker')).rejects.toThrow(/any of 20, .*the column is empty; name another/);
  await expect(of('vendor([0-9])')).rejects.toMatchObject({
    code: 'option-invalid',
    message: expect.stringMatching(/any of 20, .*the expression has to match the path/),
  });
  expect((await of('vendor')).report?.().notes).toContainEqual({
    what: 'rows without a group, each taken for one of its own',
    count: 1,
    example: join(path, '../images/3.png'),
  });
});

test('rows of one path stay on one side, with groups and without', async () => {
  const rows = Array.from({ length: 40 }, (_, k) => `images/${k >> 1}.png,${'xy'[(k >> 1) % 2]},g${k % 7}`);
  const path = join(
    await tree({ ...greys(20), 'list.csv': ['path,label,batch', ...rows].join('\n') }),
    'list.csv',
  );
  for (const seed of [1, 2, 3]) {
    const source = await open(path, {
      seed,
      labelColumn: 'label',
      testFraction: 0.3,
      validationFraction: 0.2,
    });
    const sides = await Promise.all(splitNames.map((split) => all(source, split)));
    const images = sides.map((side) => new Set(side.map(({ pixels }) => pixels[0])));
    expect(sides.map(({ length }) => length)).toEqual([20, 8, 12]);
    expect(images.map(({ size }) => size)).toEqual([10, 4, 6]);
    expect(images.reduce((sum, { size }) => sum + size, 0)).toBe(20);
  }
  // The groups chain all rows together: nothing can be set aside.
  const grouped = await open(path, { group: 'batch', labelColumn: 'label' });
  expect(splitNames.map((split) => grouped.count(split))).toEqual([40, 0, 0]);
});

test('a path in two parts, and one with two labels, are warned of', async () => {
  const directory = await tree({
    ...greys(4),
    'train.csv': 'path,label\nimages/0.png,x\nimages/1.png,y\nimages/2.png,x\nimages/2.png,y\n',
    'test.csv': 'path,label\nimages/0.png,x\n./images/1.png,x\nimages/3.png,y\n',
  });
  const report = (await open(directory)).report?.();
  expect(report?.notes.filter(({ isWarning }) => isWarning)).toEqual([
    {
      what: 'images that are listed in more than one part, so that accuracy looks better than it is',
      count: 2,
      example: join(directory, 'images/0.png'),
      isWarning: true,
    },
    {
      what: 'images that are listed with different labels',
      count: 2,
      example: join(directory, 'images/1.png'),
      isWarning: true,
    },
  ]);
});

test('images that the table of a folder does not list are left out, with a word', async () => {
  const directory = await tree({
    ...greys(5),
    'images/same.png': '-> 0.png',
    'metadata.csv':
      'file_name,label,split\nimages/0.png,x,train\nimages/1.png,y,train\nimages/2.png,y,none\n',
  });
  const unlisted = async (source: string) =>
    (await open(source, { labelColumn: 'label' }))
      .report?.()
      .leftOut.filter(({ what }) => what === 'images that no table lists');
  const example = join(directory, 'images/3.png');
  expect(await unlisted(directory)).toEqual([{ what: 'images that no table lists', count: 2, example }]);
  // A table that is named itself may be one of several for these images.
  expect(await unlisted(join(directory, 'metadata.csv'))).toEqual([]);
});

test('labels that differ only in case are classes of their own, with a word', async () => {
  const text = ['path,label', ...['Cat', 'cat', 'dog', 'Cat'].map((name, k) => `images/${k}.png,${name}`)];
  const source = await open(join(await tree({ ...greys(4), 'list.csv': text.join('\n') }), 'list.csv'));
  expect(source.classes).toEqual(['Cat', 'cat', 'dog']);
  expect(source.report?.().notes).toEqual([
    { what: 'classes whose names differ only in the case of letters', count: 1, example: 'Cat, cat' },
  ]);
});

test.each(['1.5', '0x1', '1e0'])(
  'a label %s of another part is no line of the names of classes',
  async (label) => {
    const directory = await tree({
      ...greys(3),
      'train.csv': 'path,label\nimages/0.png,0\nimages/1.png,1\n',
      'test.csv': `path,label\nimages/2.png,${label}\n`,
      'names.txt': 'ash\nbeech\n',
    });
    await expect(open(directory, { classNames: join(directory, 'names.txt') })).rejects.toMatchObject({
      code: 'dataset-invalid',
      message: expect.stringContaining(
        `the label "${label}" in the test part, which is none of the 2 classes`,
      ),
    });
  },
);

test('training rows whose labels are all -1 are refused, with what helps', async () => {
  const directory = await tree({
    ...greys(3),
    'list.csv': 'path,label\nimages/0.png,-1\nimages/1.png,-1\nimages/2.png,\n',
    'names.txt': 'ash\nbeech\n',
  });
  for (const more of [{}, { classNames: join(directory, 'names.txt') }]) {
    await expect(open(join(directory, 'list.csv'), more)).rejects.toMatchObject({
      code: 'dataset-invalid',
      message: expect.stringMatching(
        /list\.csv: expected labelled rows .* found none among 3 .*--label-column/,
      ),
    });
  }
});
