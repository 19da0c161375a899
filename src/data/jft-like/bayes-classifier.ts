import * as tf from '@tensorflow/tfjs';
import { selectBackend } from '../../compute/backend.js';
import type { Log } from '../../core/log.js';
import type { Ceiling, LabelledImage } from '../source.js';
import { type Generator, middleLevel } from './image-generator.js';
import { annotatedDistribution } from './label-noise.js';
import type { Templates } from './templates.js';

const imagesPerBatch = 128;
const templatesPerBlock = 8192; // shifted templates multiplied at once: 8 MB at 16 × 16

/**
 * Top-1 accuracy, on annotated images, of the classifier that knows the generator: what nothing can exceed.
 *
 * @param images at least one, drawn by the generator by its true frequencies
 * @returns the share of images whose annotated label is the most probable one, with its binomial standard error
 *
 * Cost: images * classes * shifts * pixels multiplications; 15,000 classes, 1,000 images: about 15 s on wasm.
 */
export async function bayesCeiling(
  generator: Generator,
  images: readonly LabelledImage[],
  log: Log,
): Promise<Ceiling> {
  const progress = log.progress('ceiling', images.length);
  let correct = 0;
  for (let start = 0; start < images.length; start += imagesPerBatch) {
    const batch = images.slice(start, start + imagesPerBatch);
    const posteriors = await bayesPosteriors(
      generator,
      batch.map(({ pixels }) => pixels),
    );
    for (const [i, { label }] of batch.entries()) if (mostProbable(posteriors[i]) === label) correct++;
    progress.update(start + batch.length);
  }
  const top1 = correct / images.length;
  const standardError = Math.sqrt((top1 * (1 - top1)) / images.length);
  progress.finish(`top-1 ${(100 * top1).toFixed(1)}%`);
  return { top1, standardError, examples: images.length };
}

/**
 * The distribution of an image's label given its pixels, by Bayes' rule over everything that made the image:
 *
 *     P(k | x) proportional to p_k sum over shifts s and contrasts c of exp((c x·t_ks - c² |t_ks|² / 2) / v)
 *
 * with x relative to the middle level and v the variance of noise and rounding; then label noise is applied to
 * the classes. Clipping at 0 and 255 is neglected: it befalls about one pixel in 10,000.
 *
 * @param images each (imageSize, imageSize), 0 to 255
 * @returns for each image (classes), sums to 1
 */
export async function bayesPosteriors(
  generator: Generator,
  images: readonly Uint8Array[],
): Promise<readonly Float64Array[]> {
  await selectBackend('wasm');
  const { tree, templates, frequencies, labelNoise, difficulty } = generator;
  const logJoint = images.map(() => new Float64Array(tree.classes)); // each (classes)
  const shifts = (2 * templates.margin + 1) ** 2;
  const columns = pixelColumns(images, templates.imageSize ** 2);
  const classesPerBlock = Math.max(1, Math.floor(templatesPerBlock / shifts));
  for (let first = 0; first < tree.classes; first += classesPerBlock) {
    const last = Math.min(first + classesPerBlock, tree.classes);
    const shifted = shiftedTemplates(templates, first, last); // (block classes * shifts, pixels)
    const products = dotProducts(shifted, columns, images.length); // (block classes * shifts, images)
    const energies = squaredNorms(shifted, templates.imageSize ** 2); // (block classes * shifts)
    for (let k = first; k < last; k++) {
      const logPrior = Math.log(frequencies[k]);
      const rows = { start: (k - first) * shifts, end: (k - first + 1) * shifts };
      for (const [i, evidence] of logJoint.entries()) {
        evidence[k] = logPrior + logLikelihood(products, energies, rows, i, images.length, difficulty);
      }
    }
  }
  const noise = { rate: labelNoise, siblingShare: difficulty.siblingShare };
  return logJoint.map((evidence) => annotatedDistribution(normalisedExponentials(evidence), tree, noise));
}

/** Images as columns, relative to the middle level: (pixels, images). */
function pixelColumns(images: readonly Uint8Array[], area: number): Float32Array {
  const columns = new Float32Array(area * images.length);
  for (const [i, pixels] of images.entries()) {
    for (let p = 0; p < area; p++) columns[p * images.length + i] = pixels[p] - middleLevel;
  }
  return columns;
}

/** Windows of the canvases of classes [first, last) at all shifts: ((last - first) * shifts, pixels). */
function shiftedTemplates(templates: Templates, first: number, last: number): Float32Array {
  const { imageSize, margin, canvasSize, values } = templates;
  const positions = 2 * margin + 1;
  const windows = new Float32Array((last - first) * positions * positions * imageSize * imageSize);
  let target = 0;
  for (let k = first; k < last; k++) {
    for (let top = 0; top < positions; top++) {
      for (let left = 0; left < positions; left++) {
        for (let y = 0; y < imageSize; y++, target += imageSize) {
          const source = (k * canvasSize + top + y) * canvasSize + left;
          windows.set(values.subarray(source, source + imageSize), target);
        }
      }
    }
  }
  return windows;
}

function dotProducts(rows: Float32Array, columns: Float32Array, images: number): Float32Array {
  const area = columns.length / images;
  return tf.tidy(
    () =>
      tf
        .matMul(tf.tensor2d(rows, [rows.length / area, area]), tf.tensor2d(columns, [area, images]))
        .dataSync<'float32'>(), // (rows, images)
  );
}

function squaredNorms(rows: Float32Array, area: number): Float64Array {
  return Float64Array.from({ length: rows.length / area }, (_, row) => {
    let sum = 0;
    for (let p = row * area; p < (row + 1) * area; p++) sum += rows[p] * rows[p];
    return sum;
  });
}

/** log of the mean over shifts and contrasts of the density of image `i`, up to a constant of the image. */
function logLikelihood(
  products: Float32Array, // (rows, images)
  energies: Float64Array, // (rows)
  rows: { readonly start: number; readonly end: number },
  i: number,
  images: number,
  { contrasts, noiseLevels }: { readonly contrasts: readonly number[]; readonly noiseLevels: number },
): number {
  const variance = noiseLevels * noiseLevels + 1 / 12; // 1/12: rounding to whole levels
  let most = Number.NEGATIVE_INFINITY;
  let sum = 0; // of exp(exponent - most)
  for (let row = rows.start; row < rows.end; row++) {
    const product = products[row * images + i];
    for (const contrast of contrasts) {
      const exponent = (contrast * (product - (contrast * energies[row]) / 2)) / variance;
      if (exponent > most) {
        sum = sum * Math.exp(most - exponent) + 1;
        most = exponent;
      } else if (exponent > most - 40) {
        sum += Math.exp(exponent - most);
      }
    }
  }
  return most + Math.log(sum);
}

function normalisedExponentials(logs: Float64Array): Float64Array {
  const most = logs.reduce((a, b) => (a > b ? a : b));
  const exponentials = logs.map((log) => Math.exp(log - most));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((value) => value / sum);
}

function mostProbable(probabilities: Float64Array): number {
  let best = 0;
  for (let k = 1; k < probabilities.length; k++) if (probabilities[k] > probabilities[best]) best = k;
  return best;
}
