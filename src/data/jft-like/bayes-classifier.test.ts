import { expect, test } from 'vitest';
import { silentLog } from '../../core/log.js';
import { bayesCeiling, bayesPosteriors } from './bayes-classifier.js';
import { classFrequencies } from './class-frequencies.js';
import { classTree } from './class-tree.js';
import { type Difficulty, defaultDifficulty } from './difficulty.js';
import { drawImage, type Generator } from './image-generator.js';
import { annotatedDistribution } from './label-noise.js';
import { classTemplates } from './templates.js';

async function generator(
  classes: number,
  {
    labelNoise = 0.1,
    imageSize = 8,
    ...changes
  }: Partial<Difficulty> & { labelNoise?: number; imageSize?: number },
): Promise<Generator> {
  const difficulty = { ...defaultDifficulty, ...changes };
  const seed = 4;
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

/** Bayes' rule with explicit Gaussian densities, one pixel, shift, contrast and class after the other. */
function bruteForce(made: Generator, pixels: Uint8Array): Float64Array {
  const { tree, templates, frequencies, difficulty, labelNoise } = made;
  const { imageSize, margin, canvasSize, values } = templates;
  const variance = difficulty.noiseLevels ** 2 + 1 / 12;
  const joint = Float64Array.from(frequencies, (frequency, k) => {
    let likelihood = 0;
    for (const contrast of difficulty.contrasts) {
      for (let top = 0; top <= 2 * margin; top++) {
        for (let left = 0; left <= 2 * margin; left++) {
          let density = 1;
          for (let y = 0; y < imageSize; y++) {
            for (let x = 0; x < imageSize; x++) {
              const mean = 128 + contrast * values[(k * canvasSize + y + top) * canvasSize + x + left];
              density *= Math.exp(-((pixels[y * imageSize + x] - mean) ** 2) / (2 * variance));
            }
          }
          likelihood += density;
        }
      }
    }
    return frequency * likelihood;
  });
  const sum = joint.reduce((a, b) => a + b, 0);
  const noise = { rate: labelNoise, siblingShare: difficulty.siblingShare };
  return annotatedDistribution(
    joint.map((value) => value / sum),
    tree,
    noise,
  );
}

test('posteriors agree with explicit densities over every class, shift and contrast', async () => {
  const made = await generator(30, { own: { norm: 2, cells: 5 } });
  const images = Array.from({ length: 12 }, (_, index) => drawImage(made, (7 * index) % 30, index).pixels);
  const posteriors = await bayesPosteriors(made, images);
  let largestDifference = 0;
  for (const [i, pixels] of images.entries()) {
    const expected = bruteForce(made, pixels);
    for (let k = 0; k < 30; k++) {
      largestDifference = Math.max(largestDifference, Math.abs(posteriors[i][k] - expected[k]));
    }
  }
  expect(largestDifference).toBeLessThan(1e-4); // products are summed in float32
});

test('the ceiling is 100% where classes lie far apart and labels are right', async () => {
  const far = { family: { norm: 60, cells: 3 }, genus: { norm: 40, cells: 5 }, own: { norm: 30, cells: 7 } };
  const made = await generator(60, { labelNoise: 0, imageSize: 16, noiseLevels: 3, ...far });
  const images = Array.from({ length: 150 }, (_, index) => drawImage(made, index % 60, index));
  expect(await bayesCeiling(made, images, silentLog)).toEqual({ top1: 1, standardError: 0, examples: 150 });
});

test('with nothing to see the posterior is the annotated frequency of the classes', async () => {
  const nothing = { norm: 0, cells: 3 };
  const made = await generator(40, { family: nothing, genus: nothing, own: nothing });
  const [posterior] = await bayesPosteriors(made, [drawImage(made, 0, 0).pixels]);
  const noise = { rate: 0.1, siblingShare: defaultDifficulty.siblingShare };
  const expected = annotatedDistribution(made.frequencies, made.tree, noise);
  for (let k = 0; k < 40; k++) expect(posterior[k]).toBeCloseTo(expected[k], 10);
});
