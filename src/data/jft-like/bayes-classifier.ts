import { selectBackend } from '../../compute/backend.js';
import type { Operations } from '../../compute/operations.js';
import type { Log } from '../../core/log.js';
import { createPause, type Pause } from '../../core/pause.js';
import { percent } from '../../core/percent.js';
import { firstClass } from '../../math/rank.js';
import type { Ceiling, LabelledImage } from '../source.js';
import { type Generator, middleLevel } from './image-generator.js';
import { annotatedDistribution } from './label-noise.js';
import type { Templates } from './templates.js';

const imagesPerBatch = 128;
const templatesPerBlock = 8192; // shifted templates multiplied at once: 8 MB at 16 × 16
const negligible = 50; // classes e^50 times less probable than another are left out

/**
 * Top-1 accuracy, on annotated images, of the classifier that knows the generator: what nothing can exceed.
 *
 * @param images at least one, drawn by the generator by its true frequencies
 * @param signal ends it soon after an abort
 * @returns the share of images whose annotated label is the most probable one, with its binomial standard error
 *
 * Cost: images * classes * shifts * pixels multiplications; 15,000 classes, 1,000 images: about 20 s on wasm.
 */
export async function bayesCeiling(
  generator: Generator,
  images: readonly LabelledImage[],
  log: Log,
  signal?: AbortSignal,
): Promise<Ceiling> {
  const pause = createPause(signal, 'ceiling');
  const progress = log.progress('ceiling', images.length);
  let correct = 0;
  for (let start = 0; start < images.length; start += imagesPerBatch) {
    const batch = images.slice(start, start + imagesPerBatch);
    const posteriors = await bayesPosteriors(
      generator,
      batch.map(({ pixels }) => pixels),
      pause,
    );
    for (const [i, { label }] of batch.entries()) if (firstClass(posteriors[i]) === label) correct++;
    progress.update(start + batch.length);
  }
  const top1 = correct / images.length;
  const standardError = Math.sqrt((top1 * (1 - top1)) / images.length);
  progress.finish(`top-1 ${percent(top1)}`);
  return { top1, standardError, examples: images.length };
}

/**
 * The distribution of an image's label given its pixels, by Bayes' rule over everything that made the image:
 *
 *     P(k | x) proportional to p_k sum over shifts s and contrasts c of exp((c x·t_ks - c² |t_ks|² / 2) / v)
 *
 * with x relative to the middle level and v the variance of noise and rounding; then label noise is applied to
 * the classes. Clipping at 0 and 255 is neglected: it befalls about one pixel in a million.
 *
 * @param images each (imageSize, imageSize), 0 to 255
 * @param pause called for each block of classes
 * @returns for each image (classes), sums to 1
 */
export async function bayesPosteriors(
  generator: Generator,
  images: readonly Uint8Array[],
  pause: Pause = () => undefined,
): Promise<readonly Float64Array[]> {
  const { operations } = await selectBackend('wasm');
  const { tree, templates, frequencies, labelNoise, difficulty } = generator;
  const area = templates.imageSize ** 2;
  const shifts = (2 * templates.margin + 1) ** 2;
  const classesPerBlock = Math.max(1, Math.floor(templatesPerBlock / shifts));
  const columns = pixelColumns(images, area);

  const logJoint = images.map(() => new Float64Array(tree.classes)); // each (classes)
  const best = images.map(() => Number.NEGATIVE_INFINITY); // largest of logJoint so far
  for (let first = 0; first < tree.classes; first += classesPerBlock) {
    const turn = pause();
    if (turn) await turn;
    const last = Math.min(first + classesPerBlock, tree.classes);
    const shifted = shiftedTemplates(templates, first, last); // (block classes * shifts, pixels)
    const products = await dotProducts(operations, shifted, columns, images.length); // (block classes * shifts, images)
    const energies = squaredNorms(shifted, area); // (block classes * shifts)
    for (let k = first; k < last; k++) {
      const start = (k - first) * shifts;
      const evidence: Evidence = {
        products: products.subarray(start * images.length, (start + shifts) * images.length),
        energies: energies.subarray(start, start + shifts),
        ...difficulty,
      };
      const logPrior = Math.log(frequencies[k]);
      const peaks = largestExponents(evidence); // (images)
      for (let i = 0; i < images.length; i++) {
        if (logPrior + peaks[i] < best[i] - negligible) {
          logJoint[i][k] = Number.NEGATIVE_INFINITY;
          continue;
        }
        logJoint[i][k] = logPrior + logSumExp(evidence, i, peaks);
        best[i] = Math.max(best[i], logJoint[i][k]);
      }
    }
  }
  const noise = { rate: labelNoise, siblingShare: difficulty.siblingShare };
  return logJoint.map((logs) => annotatedDistribution(normalisedExponentials(logs), tree, noise));
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

async function dotProducts(
  operations: Operations,
  rows: Float32Array,
  columns: Float32Array,
  images: number,
): Promise<Float32Array> {
  const area = columns.length / images;
  const products = operations.tidy(() =>
    operations.matMul(
      operations.tensor(rows, [rows.length / area, area]),
      operations.tensor(columns, [area, images]),
    ),
  ); // (rows, images)
  const values = await operations.read(products);
  products.dispose();
  return values;
}

function squaredNorms(rows: Float32Array, area: number): Float64Array {
  return Float64Array.from({ length: rows.length / area }, (_, row) => {
    let sum = 0;
    for (let p = row * area; p < (row + 1) * area; p++) sum += rows[p] * rows[p];
    return sum;
  });
}

/** What decides how probable a batch of images is under one class. */
interface Evidence {
  readonly products: Float32Array; // (shifts, images), dot products of the shifted template
  readonly energies: Float64Array; // (shifts), squared norms of the shifted template
  readonly contrasts: readonly number[];
  readonly noiseLevels: number;
}

/** For each image the exponent of the most probable shift and contrast: (images). */
function largestExponents({ products, energies, contrasts, noiseLevels }: Evidence): Float64Array {
  const images = products.length / energies.length;
  const peaks = new Float64Array(images).fill(Number.NEGATIVE_INFINITY);
  for (const contrast of contrasts) {
    const slope = contrast / variance(noiseLevels);
    for (let shift = 0; shift < energies.length; shift++) {
      const offset = (slope * contrast * energies[shift]) / 2;
      for (let i = 0; i < images; i++) {
        const exponent = slope * products[shift * images + i] - offset;
        if (exponent > peaks[i]) peaks[i] = exponent;
      }
    }
  }
  return peaks;
}

/** log of the sum over shifts and contrasts of the exponentials, for image `i`. */
function logSumExp(
  { products, energies, contrasts, noiseLevels }: Evidence,
  i: number,
  peaks: Float64Array,
): number {
  const images = peaks.length;
  let sum = 0;
  for (const contrast of contrasts) {
    const slope = contrast / variance(noiseLevels);
    for (let shift = 0; shift < energies.length; shift++) {
      const offset = (slope * contrast * energies[shift]) / 2;
      sum += Math.exp(slope * products[shift * images + i] - offset - peaks[i]);
    }
  }
  return peaks[i] + Math.log(sum);
}

/** Of noise and of rounding to whole grey levels. */
function variance(noiseLevels: number): number {
  return noiseLevels * noiseLevels + 1 / 12;
}

function normalisedExponentials(logs: Float64Array): Float64Array {
  const most = logs.reduce((a, b) => Math.max(a, b));
  const exponentials = logs.map((log) => Math.exp(log - most));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((value) => value / sum);
}
