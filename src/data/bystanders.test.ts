import { expect, test } from 'vitest';
import { asBystanders, holdOutClasses } from './bystanders.js';
import type { DatasetSource, SplitName } from './source.js';

const names = Array.from({ length: 40 }, (_, label) => `class ${label}`);

/** Images whose pixel tells the part and whose label the class; `rows` of each class in each part. */
function sourceOf(rows: Readonly<Record<SplitName, number>>, classes = names): DatasetSource {
  const pixel = { train: 0, validation: 1, test: 2 };
  return {
    description: 'Grey images',
    classes,
    image: { height: 1, width: 1, channels: 1 },
    augmentation: { kind: 'none' },
    count: (split) => rows[split] * classes.length,
    async *images(split) {
      for (const label of classes.keys())
        for (let row = 0; row < rows[split]; row++) yield { pixels: Uint8Array.of(pixel[split]), label };
    },
    report: () => ({ leftOut: [], notes: [] }),
  };
}

async function read(source: DatasetSource, split: SplitName) {
  const found: { readonly label: number; readonly part: number }[] = [];
  for await (const { pixels, label } of source.images(split)) found.push({ label, part: pixels[0] });
  expect(found.length).toBeLessThanOrEqual(source.count(split));
  return found;
}
const labelsOf = (rows: readonly { readonly label: number }[]) => new Set(rows.map(({ label }) => label));
const partsOf = (rows: readonly { readonly part: number }[]) => [...new Set(rows.map(({ part }) => part))];
const hasImages = (label: number) => label < 10;

test('half of the classes teach, the others bound, and those with images do neither', async () => {
  const source = asBystanders(sourceOf({ train: 2, validation: 0, test: 1 }), names, { hasImages, seed: 3 });
  const [teach, bound, tested] = [
    await read(source, 'train'),
    await read(source, 'validation'),
    await read(source, 'test'),
  ];
  const taught = labelsOf(teach);
  expect(taught.size).toBe(15);
  expect(teach.length).toBe(30);
  expect(labelsOf(bound)).toEqual(
    new Set([...names.keys()].filter((label) => !hasImages(label) && !taught.has(label))),
  );
  expect(bound.length).toBe(30);
  expect(labelsOf(tested).size).toBe(30);
  expect(source.report?.().leftOut).toEqual([
    { what: 'images of classes that have training images', count: 30, example: 'Grey images' },
  ]);

  const other = asBystanders(sourceOf({ train: 2, validation: 0, test: 1 }), names, { hasImages, seed: 4 });
  expect(labelsOf(await read(other, 'train'))).not.toEqual(taught);
});

test('a part for validation of its own bounds, so that designs do not mix', async () => {
  const source = asBystanders(sourceOf({ train: 2, validation: 1, test: 1 }), names, { hasImages, seed: 3 });
  const [teach, bound] = [await read(source, 'train'), await read(source, 'validation')];
  expect([partsOf(teach), partsOf(bound)]).toEqual([[0], [1]]);
  expect([teach.length, bound.length]).toEqual([30, 15]);
  const unused = { count: 30 + 15, what: expect.stringContaining('whose class bounds') };
  expect(source.report?.().leftOut).toContainEqual(expect.objectContaining(unused));
  expect([...labelsOf(teach)].filter((label) => labelsOf(bound).has(label))).toEqual([]);
});

test('images without a known class bound, and one class alone does', async () => {
  const unknown = sourceOf({ train: 2, validation: 0, test: 1 }, ['nobody', 'nothing']);
  const source = asBystanders(unknown, names, { hasImages, seed: 3 });
  expect(await read(source, 'train')).toEqual([]);
  expect(labelsOf(await read(source, 'validation'))).toEqual(new Set([names.length]));
  const one = asBystanders(sourceOf({ train: 2, validation: 0, test: 1 }, ['class 39']), names, {
    hasImages,
    seed: 3,
  });
  expect([(await read(one, 'train')).length, (await read(one, 'validation')).length]).toEqual([0, 2]);
});

test('classes that are held out give all but their test images for teaching and bounding', async () => {
  const own = sourceOf({ train: 4, validation: 1, test: 1 });
  const { rest, bystanders, heldOut } = holdOutClasses(own, [...names.keys()], { count: 6, seed: 1 });
  const [teach, bound] = [await read(bystanders, 'train'), await read(bystanders, 'validation')];
  expect(labelsOf(teach).size).toBe(3);
  expect([...labelsOf(teach), ...labelsOf(bound)].sort((a, b) => a - b)).toEqual(heldOut);
  expect([teach.length, bound.length]).toEqual([15, 15]);
  expect([...labelsOf(await read(rest, 'train'))].some((label) => heldOut.includes(label))).toBe(false);
});
