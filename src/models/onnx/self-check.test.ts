import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Backbone } from '../backbone.js';
import type { OnnxImageInput, Reading } from './reading.js';
import { checkReadings } from './self-check.js';

const count = 40;
const size = 2;
const input = { image: { height: 1, width: size, channels: 1 } } as OnnxImageInput;
const reading: Reading = { order: 'rgb', normalisation: { name: 'none', mean: [0], deviation: [1] } };
/** Class 1 where the second pixel is the larger one. */
const head = { classes: 2, logits: async (features: Float32Array) => features };
const check = {
  images: Float32Array.from({ length: count * size }, (_, at) => (at % 4 === 1 || at % 4 === 2 ? 1 : 0)),
  count,
  labels: Int32Array.from({ length: count }, (_, row) => (row + 1) % 2),
};

/** Whose features are the pixels, after some time. */
function backbone(onBatch: () => Promise<void>): Backbone {
  return {
    features: async ({ images }: { readonly images: Float32Array }) => {
      await onBatch();
      return images.slice();
    },
    dispose: () => {},
  } as Partial<Backbone> as Backbone;
}

test('all images count, a few at a time', async () => {
  let batches = 0;
  const found = await checkReadings(input, [reading], head, check, async () =>
    backbone(async () => {
      batches++;
    }),
  );
  expect(found).toMatchObject({ examples: count, chosen: { top1: 1 } });
  expect(batches).toBeGreaterThan(2);
});

test('readings that are beyond doubt worse are tried on the first images alone', async () => {
  const many = 200;
  const images = Float32Array.from({ length: many * size }, (_, at) =>
    at % 4 === 1 || at % 4 === 2 ? 1 : 0,
  );
  const labels = Int32Array.from({ length: many }, (_, row) => (row + 1) % 2);
  const seen = new Map<Reading['order'] | 'none', number>();
  const readings = [
    reading,
    { order: 'bgr', normalisation: { name: 'none', mean: [0], deviation: [2] } },
    { ...reading, normalisation: { name: 'none', mean: [1], deviation: [1] } },
  ] as const satisfies readonly Reading[];
  const found = await checkReadings(input, readings, head, { images, count: many, labels }, async (one) => {
    const name = one.normalisation.mean[0] === 1 ? 'none' : one.order;
    return {
      ...backbone(async () => {}),
      features: async ({ images, count }: { readonly images: Float32Array; readonly count: number }) => {
        seen.set(name, (seen.get(name) ?? 0) + count);
        return images.map((value) => (name === 'none' ? -value : value));
      },
    } as Backbone;
  });
  expect(Object.fromEntries(seen)).toEqual({ rgb: many, bgr: many, none: 64 });
  expect(found.scores.map(({ examples, top1 }) => ({ examples, top1 }))).toEqual([
    { examples: many, top1: 1 },
    { examples: many, top1: 1 },
    { examples: 64, top1: 0 },
  ]);
  expect(found.warnings).toHaveLength(1);
});

test('the order of channels is tried once on images without colour, where nothing else differs', async () => {
  const colours = (tint: number) =>
    Float32Array.from(
      { length: 3 * 2 * count },
      (_, at) => ((Math.floor(at / 3) + Math.floor(at / 6)) % 2) + tint * (at % 3),
    );
  const shape = { image: { height: 1, width: 2, channels: 3 } } as OnnxImageInput;
  const plain = { name: 'none', mean: [0, 0, 0], deviation: [1, 1, 1] };
  const uneven = { name: 'uneven', mean: [0, 0.1, 0.2], deviation: [1, 1, 1] };
  const readings: readonly Reading[] = [
    { order: 'rgb', normalisation: plain },
    { order: 'bgr', normalisation: plain },
    { order: 'rgb', normalisation: uneven },
    { order: 'bgr', normalisation: { ...uneven, mean: [0.2, 0.1, 0] } },
  ];
  const triedOn = async (images: Float32Array) => {
    const opened: Reading[] = [];
    const found = await checkReadings(shape, readings, head, { ...check, images }, async (one) => {
      opened.push(one);
      return {
        ...backbone(async () => {}),
        features: async (batch: { readonly images: Float32Array }) =>
          Float32Array.from({ length: batch.images.length / 3 }, (_, at) => batch.images[3 * at]),
      } as Backbone;
    });
    return { opened, found };
  };
  const grey = await triedOn(colours(0));
  expect(grey.opened).toEqual([readings[0], readings[2], readings[3]]);
  expect(grey.found.scores.map(({ reading }) => reading)).toEqual(readings);
  expect(new Set(grey.found.scores.map(({ top1 }) => top1)).size).toBe(1);
  expect(grey.found.warnings.join()).toMatch(/no colour/);
  expect((await triedOn(colours(0.1))).opened).toEqual(readings);
});

test('a reading that was ruled out leaves no doubt, however much harder the other images are', async () => {
  const many = 200;
  const images = Float32Array.from({ length: many * size }, (_, at) =>
    at % 4 === 1 || at % 4 === 2 ? 1 : 0,
  );
  // Of the images after the first 64 half are wrong under any reading.
  const labels = Int32Array.from({ length: many }, (_, row) => (row < 64 || row % 4 < 2 ? row + 1 : row) % 2);
  const inverted: Reading = { ...reading, normalisation: { name: 'none', mean: [1], deviation: [1] } };
  const found = await checkReadings(
    input,
    [reading, inverted],
    head,
    { images, count: many, labels },
    async (one) =>
      ({
        ...backbone(async () => {}),
        // Inverted, every second image is right.
        features: async ({ images }: { readonly images: Float32Array }) =>
          one === reading ? images.slice() : images.map((_, at) => (at % size === 0 ? 1 : 0)),
      }) as Backbone,
  );
  expect(found.scores.map(({ examples }) => examples)).toEqual([many, 64]);
  expect(found.chosen.top1 - found.scores[1].top1).toBeLessThan(0.2);
  expect(found.warnings).toEqual([]);
});

/** A backbone whose features are the logits that a reading makes of each image, which holds its number. */
const scoring = (logitsOf: (image: number) => readonly number[]) =>
  ({
    ...backbone(async () => {}),
    features: async ({ images }: { readonly images: Float32Array }) =>
      Float32Array.from([...images].flatMap((image) => logitsOf(image))),
  }) as Backbone;
const numbered = (labels: Int32Array) => ({
  images: Float32Array.from(labels.keys()),
  count: labels.length,
  labels,
});
const other: Reading = { order: 'rgb', normalisation: { name: 'other', mean: [1], deviation: [1] } };

test('of readings as far apart as chance, the one with the likelier labels is used, and the doubt is told', async () => {
  const labels = new Int32Array(256);
  const tryWith = (wrong: number) =>
    checkReadings(input, [reading, other], head, numbered(labels), async (one) =>
      scoring((image) => (one === reading ? [0.1, 0] : [image < wrong ? -1 : 5, 0])),
    );
  const one = await tryWith(1);
  expect(one.chosen).toMatchObject({ reading: other, top1: 255 / 256 });
  expect(one.scores.map(({ reading }) => reading)).toEqual([other, reading]);
  expect(one.warnings).toEqual([expect.stringMatching(/two readings of the images do about as well/)]);
  const ten = await tryWith(10);
  expect(ten.chosen).toMatchObject({ reading, top1: 1 });
  expect(ten.warnings).toEqual([]);
});

test('labels that are one off are told from labels in another order', async () => {
  const labels = Int32Array.from({ length: 60 }, (_, row) => 1 + (row % 3));
  const four = { classes: 4, logits: async (features: Float32Array) => features };
  const predicting = (classOf: (label: number) => number) =>
    checkReadings(input, [reading], four, numbered(labels), async () =>
      scoring((image) => [0, 1, 2, 3].map((label) => Number(label === classOf(labels[image])))),
    );
  const told = async (classOf: (label: number) => number) => (await predicting(classOf)).warnings.join();
  expect(await told((label) => label - 1)).toMatch(
    /for 100.0% of 60 .* class before the label.* count from 1,/,
  );
  expect(await told((label) => (label + 1) % 4)).toMatch(/class after the label/);
  expect(await told((label) => label)).toBe('');
  expect(await told(() => 0)).toMatch(/gets none of 60/);
});

describe('a model that is no better than chance', () => {
  const classes = 5;
  const five = { classes, logits: async (features: Float32Array) => features };
  /** How it is told where `firstOf` is the class that the model predicts for an image. */
  async function told(labels: Int32Array, firstOf: (image: number) => number, readings = [reading]) {
    const { warnings } = await checkReadings(input, readings, five, numbered(labels), async () =>
      scoring((image) => Array.from({ length: classes }, (_, label) => Number(label === firstOf(image)))),
    );
    return warnings;
  }
  const even = Int32Array.from({ length: 200 }, (_, image) => image % classes);
  const unrelated = (image: number) => Math.floor(image / classes) % classes;
  /** Right for so many of the first images, and unrelated to the others. */
  const rightFor = (images: number) => (image: number) =>
    image < images ? even[image] : (unrelated(image) + Number(unrelated(image) === even[image])) % classes;

  test('is told with what helps, beside readings that do as well', async () => {
    const warnings = await told(even, unrelated, [reading, other]);
    expect(warnings).toEqual([
      expect.stringMatching(/gets 20\.0% of 200 .*chance would \(20\.0%\).*--logits.*--labels.*--image-mean/),
      expect.stringMatching(/two readings of the images do about as well/),
    ]);
    expect(await told(even, rightFor(50))).toHaveLength(1); // 25%, and two standard errors end at 25.7%
    expect(await told(even, rightFor(53))).toEqual([]);
  });

  test('is told where it always predicts a frequent class', async () => {
    const most = even.map((label, image) => (image % 10 < 7 ? 0 : label));
    expect(await told(most, () => 0)).toEqual([expect.stringMatching(/gets (\d+\.\d%) .*would \(\1\)/)]);
    const three = even.map((label) => label % 3);
    expect(await told(three, () => 0)).toEqual([expect.stringMatching(/gets (\d+\.\d%) .*would \(\1\)/)]);
  });

  test('is none that confuses a few of its many classes, as in a list of complaints; readings that do as well are told', async () => {
    const two = Int32Array.from({ length: 44 }, (_, image) => image % 2);
    const confused = (image: number) => (image < 20 ? two[image] : 1 - two[image]);
    expect(await told(two, confused, [reading, other])).toEqual([
      expect.stringMatching(/two readings of the images do about as well.*\(45\.5%\)/),
    ]);
    expect(await told(two, () => 0)).toEqual([]);
    const blind = (image: number) => (image < 6 ? two[image] : 2 + (image % 3));
    expect(await told(two, blind)).toEqual([expect.stringMatching(/gets 13\.6% of 44 .*would \(20\.0%\)/)]);
  });

  test('cannot be told on few images, or on images of one class', async () => {
    expect(await told(even.subarray(0, 15), unrelated)).toEqual([]);
    expect(await told(new Int32Array(200), (image) => Number(image % 2))).toEqual([]);
  });
});

test('a signal ends it between a few images', async () => {
  const controller = new AbortController();
  let batches = 0;
  const open = async () =>
    backbone(async () => {
      batches++;
      controller.abort();
      await wait(120); // longer than the time between two pauses
    });
  await expect(checkReadings(input, [reading], head, check, open, controller.signal)).rejects.toMatchObject({
    code: 'interrupted',
  });
  expect(batches).toBe(1);
});
