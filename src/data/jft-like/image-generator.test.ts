import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { classFrequencies } from './class-frequencies.js';
import { classTree } from './class-tree.js';
import { defaultDifficulty } from './difficulty.js';
import { drawImage, type Generator } from './image-generator.js';
import { classTemplates } from './templates.js';

async function generator({
  labelNoise = 0.1,
  imageSize = 16,
  difficulty = defaultDifficulty,
} = {}): Promise<Generator> {
  const [classes, seed] = [200, 1];
  const tree = classTree(classes, difficulty);
  const templates = await classTemplates(tree, imageSize, seed, difficulty);
  return {
    seed,
    tree,
    templates,
    frequencies: classFrequencies(classes, seed, difficulty),
    labelNoise,
    difficulty,
  };
}

test('images are the same byte for byte on every machine', async () => {
  const made = await generator();
  const digest = (label: number, index: number) =>
    createHash('sha256')
      .update(drawImage(made, label, index).pixels)
      .digest('hex')
      .slice(0, 16);
  expect([digest(0, 0), digest(0, 1), digest(199, 0), digest(7, 0x4000_0000)]).toEqual([
    'f842883b7dfa40c0',
    '77fe862365d0726f',
    '9c28a9743f1fda41',
    '9a83dc0becf8a152',
  ]);
});

test('pixels do not depend on the rate of label noise, labels do', async () => {
  const [clean, noisy] = [await generator({ labelNoise: 0 }), await generator({ labelNoise: 0.99 })];
  const images = Array.from({ length: 20 }, (_, index) => [
    drawImage(clean, 3, index),
    drawImage(noisy, 3, index),
  ]);
  for (const [a, b] of images) expect(a.pixels).toEqual(b.pixels);
  expect(images.every(([a]) => a.label === 3)).toBe(true);
  expect(images.filter(([, b]) => b.label !== 3).length).toBeGreaterThan(15);
});

test('without noise an image is a window of the template, at every shift and contrast alike often', async () => {
  const made = await generator({
    difficulty: { ...defaultDifficulty, noiseLevels: 20, contrasts: [0.75, 1.25] },
  });
  const { margin, canvasSize, values, imageSize } = made.templates;
  const quiet: Generator = { ...made, difficulty: { ...made.difficulty, noiseLevels: 0 } };
  const seen = new Map<string, number>();
  const draws = 1800;
  for (let index = 0; index < draws; index++) {
    const { pixels } = drawImage(quiet, 11, index);
    const found: string[] = [];
    for (const contrast of made.difficulty.contrasts) {
      for (let top = 0; top <= 2 * margin; top++) {
        for (let left = 0; left <= 2 * margin; left++) {
          const fits = pixels.every((level, p) => {
            const source =
              (11 * canvasSize + top + Math.floor(p / imageSize)) * canvasSize + left + (p % imageSize);
            return level === Math.floor(128.5 + contrast * values[source]);
          });
          if (fits) found.push(`${contrast} ${top} ${left}`);
        }
      }
    }
    expect(found).toHaveLength(1);
    seen.set(found[0], (seen.get(found[0]) ?? 0) + 1);
  }
  expect(seen.size).toBe(18);
  for (const count of seen.values()) expect(Math.abs(count - 100)).toBeLessThan(50);
});

test('noise has the stated deviation and is rarely clipped', async () => {
  const made = await generator({ difficulty: { ...defaultDifficulty, contrasts: [0] } });
  let squares = 0;
  for (let index = 0; index < 200; index++) {
    for (const level of drawImage(made, 5, index).pixels) squares += (level - 128) ** 2;
  }
  expect(Math.sqrt(squares / (200 * 256))).toBeCloseTo(20, 0);

  const usual = await generator();
  let clipped = 0;
  for (let index = 0; index < 1000; index++) {
    for (const level of drawImage(usual, index % 200, index).pixels)
      if (level === 0 || level === 255) clipped++;
  }
  expect(clipped / 256_000).toBeLessThan(1e-4);
});

test('siblings differ less than cousins, cousins less than strangers, at every image size', async () => {
  for (const imageSize of [16, 24]) {
    const { tree, templates, difficulty } = await generator({ imageSize });
    const area = templates.canvasSize ** 2;
    const distance = (a: number, b: number) => {
      let squares = 0;
      for (let p = 0; p < area; p++)
        squares += (templates.values[a * area + p] - templates.values[b * area + p]) ** 2;
      return (Math.sqrt(squares / area) * imageSize) / difficulty.noiseLevels; // in noise units, over the image
    };
    const sums = { sibling: [0, 0], cousin: [0, 0], stranger: [0, 0] };
    for (let a = 0; a < 200; a++) {
      for (let b = 0; b < a; b++) {
        const [genusA, genusB] = [tree.genera[tree.genusOf[a]], tree.genera[tree.genusOf[b]]];
        const kind = genusA === genusB ? 'sibling' : genusA.family === genusB.family ? 'cousin' : 'stranger';
        sums[kind][0] += distance(a, b);
        sums[kind][1]++;
      }
    }
    const [sibling, cousin, stranger] = [sums.sibling, sums.cousin, sums.stranger].map(([sum, n]) => sum / n);
    expect(sibling / (Math.SQRT2 * difficulty.own.norm)).toBeCloseTo(1, 0);
    expect(cousin).toBeGreaterThan(1.2 * sibling);
    expect(stranger).toBeGreaterThan(1.2 * cousin);
  }
});
