import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Backbone, createBackbone } from './backbone.js';
import { storedFeatures } from './stored-features.js';

const image = { height: 2, width: 2, channels: 1 } as const;
const width = 3;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-stored-features-'));
});
afterEach(async () => rm(folder, { recursive: true, force: true }));

/** Three numbers of an image, and how many images they were computed for. */
function countingBackbone() {
  const seen = { images: 0 };
  const backbone = createBackbone({
    name: 'sums',
    width,
    input: { kind: 'images', image },
    async features({ images, count }, out) {
      seen.images += count;
      for (let row = 0; row < count; row++)
        for (let feature = 0; feature < width; feature++)
          for (let pixel = 0; pixel < 4; pixel++)
            out[row * width + feature] += images[row * 4 + pixel] * (pixel + 1) ** feature;
    },
    dispose() {},
  });
  return { seen, backbone };
}

const imagesFrom = (first: number, count: number) =>
  Float32Array.from({ length: 4 * count }, (_, at) => ((first + Math.floor(at / 4)) * 7 + (at % 4)) / 500);

const predict = (backbone: Backbone, first: number, count: number) =>
  backbone.features({ images: imagesFrom(first, count), count });

async function expectStored(
  path: string,
  [first, count]: readonly [number, number],
  computed: number,
): Promise<void> {
  const { seen, backbone } = countingBackbone();
  const stored = await storedFeatures(backbone, path);
  expect(await predict(stored, first, count)).toEqual(
    await predict(countingBackbone().backbone, first, count),
  );
  expect(seen.images).toBe(computed);
  stored.dispose();
}

test('an image is computed once, in whatever batch and process it comes', async () => {
  const path = join(folder, 'new', 'sums.features');
  const { seen, backbone } = countingBackbone();
  const stored = await storedFeatures(backbone, path);
  await predict(stored, 0, 10);
  await predict(stored, 5, 10);
  expect(seen.images).toBe(15);
  stored.dispose();
  await expectStored(path, [3, 14], 2); // 15 and 16 are new
});

test('a torn record is cut off, and one that was damaged is computed again', async () => {
  const path = join(folder, 'sums.features');
  await expectStored(path, [0, 8], 8);
  await appendFile(path, Buffer.alloc(17, 1));
  await expectStored(path, [0, 8], 0);
  const bytes = await readFile(path);
  bytes[3 * (16 + 8 + 4 * width) + 30] ^= 1;
  await writeFile(path, bytes);
  await expectStored(path, [0, 8], 1);
});

test('two at once do not take the records of the other for their own', async () => {
  const path = join(folder, 'sums.features');
  const [one, two] = [countingBackbone(), countingBackbone()];
  const [first, second] = [
    await storedFeatures(one.backbone, path),
    await storedFeatures(two.backbone, path),
  ];
  for (let step = 0; step < 6; step++) {
    await predict(first, 10 * step, 5);
    await predict(second, 10 * step + 5, 5);
  }
  const all = await predict(countingBackbone().backbone, 0, 60);
  expect(await predict(first, 0, 60)).toEqual(all);
  expect(await predict(second, 0, 60)).toEqual(all);
  first.dispose();
  second.dispose();
  await expectStored(path, [0, 60], 0);
});
