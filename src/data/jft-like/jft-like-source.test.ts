import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { type LabelledImage, type SplitName, splitNames } from '../source.js';
import { type JftLikeOptions, jftLikeSource } from './jft-like-source.js';

const small = { classes: 40, imagesPerClass: 6, validationPerClass: 2, testPerClass: 2.5, seed: 1 };

async function imagesOf(split: SplitName, options: JftLikeOptions): Promise<LabelledImage[]> {
  const source = await jftLikeSource(options);
  const images: LabelledImage[] = [];
  for await (const image of source.images(split)) images.push(image);
  return images;
}

const digestOf = ({ pixels }: LabelledImage) => createHash('sha256').update(pixels).digest('hex');

test('a small data set is the same byte for byte on every machine', async () => {
  const hash = createHash('sha256');
  for (const split of splitNames) {
    for (const { pixels, label } of await imagesOf(split, small)) hash.update(pixels).update(`${label};`);
  }
  expect(hash.digest('hex')).toBe('5e03e676b9f1f76271a9987cdc2154a8dcc4462da01eb6ed6ddc3732f98cc574');
});

test('splits have exactly the counts they state and share no image', async () => {
  const source = await jftLikeSource(small);
  const digests = new Set<string>();
  for (const split of splitNames) {
    const images = await imagesOf(split, small);
    expect(images).toHaveLength(source.count(split));
    for (const image of images) digests.add(digestOf(image));
  }
  expect(splitNames.map(source.count)).toEqual([240, 80, 100]);
  expect(digests.size).toBe(420);
});

test('a larger split holds the images of a smaller one', async () => {
  const [smaller, larger] = await Promise.all([
    imagesOf('train', small),
    imagesOf('train', { ...small, imagesPerClass: 12 }),
  ]);
  const digests = new Set(larger.map(digestOf));
  expect(smaller.every((image) => digests.has(digestOf(image)))).toBe(true);
});

test('every split follows the same long tail, and every class has training images', async () => {
  const options = { classes: 200, imagesPerClass: 40, validationPerClass: 20, labelNoise: 0, seed: 3 };
  const [train, validation] = await Promise.all([
    imagesOf('train', options),
    imagesOf('validation', options),
  ]);
  const counts = (images: readonly LabelledImage[]) => {
    const byClass = new Int32Array(200);
    for (const { label } of images) byClass[label]++;
    return byClass;
  };
  const [inTrain, inValidation] = [counts(train), counts(validation)];
  expect(inTrain.reduce((a, b) => Math.min(a, b))).toBeGreaterThanOrEqual(8);
  expect(inTrain.reduce((a, b) => Math.max(a, b))).toBeGreaterThan(800);
  for (let k = 0; k < 200; k++) expect(Math.abs(inTrain[k] - 2 * inValidation[k])).toBeLessThanOrEqual(3);
});

test('images come in an order that mixes classes', async () => {
  const labels = (await imagesOf('train', { ...small, labelNoise: 0 })).map(({ label }) => label);
  const repeats = labels.filter((label, i) => label === labels[i - 1]).length;
  const ordered = [...labels].sort((a, b) => a - b).filter((label, i, all) => label === all[i - 1]).length;
  expect(repeats).toBeLessThan(ordered / 2);
});

test('the stated share of labels is wrong, mostly naming siblings', async () => {
  const options = { ...small, imagesPerClass: 100 };
  const [noisy, clean] = await Promise.all([
    imagesOf('train', { ...options, labelNoise: 0.2 }),
    imagesOf('train', { ...options, labelNoise: 0 }),
  ]);
  const { classes } = await jftLikeSource(options);
  const genus = (label: number) => classes[label].replace(/\/[^/]*$/, '');
  const wrong = noisy.flatMap(({ label }, i) => (label === clean[i].label ? [] : [[label, clean[i].label]]));
  expect(wrong.length / noisy.length).toBeCloseTo(0.2, 1);
  expect(wrong.filter(([a, b]) => genus(a) === genus(b)).length / wrong.length).toBeGreaterThan(0.6);
});

test('another seed is another data set', async () => {
  const [first, second] = await Promise.all([
    imagesOf('test', small),
    imagesOf('test', { ...small, seed: 2 }),
  ]);
  expect(digestOf(first[0])).not.toBe(digestOf(second[0]));
});

test('the ceiling lies between chance and the share of right labels', async () => {
  const source = await jftLikeSource({ ...small, testPerClass: 10 });
  const ceiling = await source.ceiling?.();
  expect(ceiling?.examples).toBe(400);
  expect(ceiling?.top1).toBeGreaterThan(0.5);
  expect(ceiling?.top1).toBeLessThan(0.9 + 3 * Math.sqrt(0.09 / 400));
});

test('datasets/jft-like/dataset.yaml states the defaults of the function', async () => {
  const path = new URL('../../../datasets/jft-like/dataset.yaml', import.meta.url);
  const { classes, imagesPerClass, imageSize } = parse(await readFile(path, 'utf8'));
  const source = await jftLikeSource();
  expect(source.classes.length).toBe(classes);
  expect(source.count('train')).toBe(classes * imagesPerClass);
  expect(source.image).toEqual({ height: imageSize, width: imageSize, channels: 1 });
});

test.each([
  [{ classes: 1 }, /classes.*from 2, not 1/],
  [{ classes: 2.5 }, /classes.*whole/],
  [{ imageSize: 3 }, /imageSize.*from 4/],
  [{ labelNoise: 1 }, /labelNoise.*below 1, not 1/],
  [{ labelNoise: Number.NaN }, /labelNoise/],
  [{ imagesPerClass: 0 }, /train images a class/],
  [{ testPerClass: Number.POSITIVE_INFINITY }, /test images a class/],
  [{ seed: 0.5 }, /seed.*whole/],
])('%o is refused', async (options, message) => {
  await expect(jftLikeSource(options)).rejects.toThrow(message);
});
