import { expect, test } from 'vitest';
import { decodeImage } from '../data/image-codec.js';
import type { ImageShape } from '../data/source.js';
import { createThumbnails } from '../data/thumbnails.js';
import { createClassConfusions } from './class-confusions.js';
import { createGallery } from './gallery.js';
import { createDetails } from './report-details.js';

const grey = (height: number, width: number): ImageShape => ({ height, width, channels: 1 });

test('what was taken for what is counted, the most frequent first, and correct predictions are no confusions', () => {
  const confusions = createClassConfusions(4);
  confusions.add(0, { generalist: 1, ensemble: 0 });
  confusions.add(0, { generalist: 1, ensemble: 1 });
  confusions.add(2, { generalist: 3, ensemble: 2 });
  confusions.add(1, { generalist: 1, ensemble: 0 });
  expect(confusions.result()).toEqual({
    counts: { images: [2, 1, 1, 0], generalist: [0, 1, 0, 0], ensemble: [1, 0, 1, 0] },
    confusions: [
      { label: 0, predicted: 1, generalist: 2, ensemble: 1 },
      { label: 2, predicted: 3, generalist: 1, ensemble: 0 },
      { label: 1, predicted: 0, generalist: 0, ensemble: 1 },
    ],
    unlisted: { generalist: 0, ensemble: 0 },
  });
});

test('every image of a kind is as likely to be drawn, and the same seed draws the same', async () => {
  const draw = async (seed: number) => {
    const gallery = createGallery(seed);
    for (let row = 0; row < 48; row++) {
      await gallery.offer({ generalist: row % 2 === 0, ensemble: row % 2 === 1 }, async () => ({
        row,
        label: { index: 0, class: 'a' },
        picture: '',
        generalist: [],
        ensemble: [],
        specialists: [],
      }));
    }
    return gallery.result();
  };
  const first = await draw(1);
  expect(await draw(1)).toEqual(first);
  expect(first.fixed.images).toBe(24);
  expect(first.fixed.shown).toHaveLength(12);
  expect(first.fixed.shown.every(({ row }) => row % 2 === 1)).toBe(true);
  const times = new Map<number, number>();
  for (let seed = 0; seed < 400; seed++)
    for (const { row } of (await draw(seed)).broken.shown) times.set(row, (times.get(row) ?? 0) + 1);
  expect(times.size).toBe(24);
  for (const drawn of times.values()) expect(Math.abs(drawn - 200)).toBeLessThan(60); // six standard deviations
});

test('a sheet holds the first image of each class in its cell', async () => {
  const shape = grey(4, 6);
  const thumbnails = createThumbnails(shape, 10);
  for (const label of [7, 2, 7, 5]) {
    const isFirst = thumbnails.wants(label);
    await thumbnails.add(label, new Uint8Array(24).fill(isFirst ? 10 * label : 255));
  }
  const sheet = await thumbnails.result();
  expect(sheet).toMatchObject({ width: 6, height: 4, classes: [2, 5, 7] });
  const whole = grey(sheet.rows * 4, sheet.columns * 6);
  const bytes = Buffer.from(sheet.picture.slice(sheet.picture.indexOf(',') + 1), 'base64');
  const pixels = await decodeImage(bytes, whole);
  for (const [place, label] of sheet.classes.entries()) {
    const [x, y] = [(place % sheet.columns) * 6, Math.floor(place / sheet.columns) * 4];
    expect(pixels[y * whole.width + x]).toBe(10 * label);
    expect(pixels[(y + 3) * whole.width + x + 5]).toBe(10 * label);
  }
});

test('a sheet of very many classes stays small enough to be opened, and one of large images is made of small ones', async () => {
  const many = createThumbnails(grey(64, 64), 100_000);
  for (let label = 0; label < 50; label++) await many.add(label, new Uint8Array(64 * 64).fill(label));
  const { width, height } = await many.result();
  expect(width * height * 100_000).toBeLessThan(16.7e6);
  const large = createThumbnails({ height: 512, width: 256, channels: 3 }, 3);
  await large.add(1, new Uint8Array(512 * 256 * 3).fill(200));
  expect(await large.result()).toMatchObject({ height: 48, width: 24, classes: [1] });
});

test('an image whose prediction was changed for the better is counted, drawn, and stands for its class', async () => {
  const details = createDetails(['a', 'b', 'c'], [{ id: 4, classes: [0, 1] }], {
    image: grey(1, 1),
    seed: 1,
    total: 1,
  });
  await details.observe({
    row: 12,
    label: 1,
    trace: {
      generalist: Float32Array.of(0.5, 0.3, 0.2),
      ensemble: Float32Array.of(0.2, 0.6, 0.2),
      specialists: [{ position: 0, isActive: true, probabilities: Float64Array.of(0.1, 0.8, 0.1) }],
    },
    pixels: () => Uint8Array.of(7),
  });
  const { counts, confusions, gallery, reliability, thumbnails } = await details.result();
  expect(counts).toEqual({ images: [0, 1, 0], generalist: [0, 0, 0], ensemble: [0, 1, 0] });
  expect(confusions).toEqual([[1, 0, 1, 0]]);
  expect(gallery.broken.images).toBe(0);
  expect(gallery.fixed.shown).toMatchObject([
    { row: 12, label: { index: 1, class: 'b' }, specialists: [{ id: 4, dustbin: 0.1 }] },
  ]);
  expect(reliability.ensemble.asIs.bins).toMatchObject([{ examples: 1, accuracy: 1 }]);
  expect(thumbnails.classes).toEqual([1]);
});
