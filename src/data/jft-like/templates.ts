import { createPause } from '../../core/pause.js';
import { createRandom, type Random } from '../../core/random.js';
import type { ClassTree } from './class-tree.js';
import type { Difficulty, Pattern } from './difficulty.js';
import { gaussianQuantiles } from './gaussian-quantiles.js';

/**
 * What each class looks like without noise, on a canvas wider than the image by `margin` pixels on every side,
 * so that an image is a window of it at any of the shifts.
 */
export interface Templates {
  readonly imageSize: number;
  readonly margin: number;
  /** Height and width of a canvas: `imageSize + 2 * margin`. */
  readonly canvasSize: number;
  readonly values: Float32Array; // (classes, canvasSize, canvasSize), grey levels around 0
}

/**
 * Draws the templates: family pattern + genus pattern + a mixture of the family's details.
 *
 * The mixture of every class has the same norm, so that no class is far from its siblings. Only + - * / and
 * square roots are used: the templates are the same to the bit on every machine.
 *
 * Cost: O(classes * details * canvas), memory 4 bytes * classes * canvas (19 MB at 15,000 classes of 16 × 16).
 */
export async function classTemplates(
  tree: ClassTree,
  imageSize: number,
  seed: number,
  difficulty: Difficulty,
): Promise<Templates> {
  const margin = Math.max(1, Math.round(imageSize * difficulty.shiftShare));
  const canvasSize = imageSize + 2 * margin;
  const area = canvasSize * canvasSize;
  const draw = (pattern: Pattern, ...labels: readonly (number | string)[]) => {
    const values = smoothPattern(createRandom(seed, 'jft-like', ...labels), canvasSize, pattern.cells);
    return normalised(values, (pattern.norm * difficulty.noiseLevels) / imageSize);
  };

  const values = new Float32Array(tree.classes * area);
  let family = -1;
  let familyPattern: Float64Array = new Float64Array(0);
  let details: readonly Float64Array[] = [];
  const pause = createPause(undefined, 'templates');
  for (const genus of tree.genera) {
    const turn = pause();
    if (turn) await turn;
    if (genus.family !== family) {
      family = genus.family;
      familyPattern = draw(difficulty.family, 'family', family);
      details = Array.from({ length: difficulty.detailsPerFamily }, (_, detail) =>
        draw(difficulty.own, 'detail', genus.family, detail),
      );
    }
    const shared = familyPattern.slice(); // (canvasSize, canvasSize)
    if (tree.generaIn[family] > 1)
      addScaled(shared, draw(difficulty.genus, 'genus', family, genus.position), 1);
    for (let label = genus.start; label < genus.end; label++) {
      const random = createRandom(seed, 'jft-like', 'class', label);
      const own = new Float64Array(area); // (canvasSize, canvasSize)
      for (const detail of details) addScaled(own, detail, normal(random));
      normalised(own, (difficulty.own.norm * difficulty.noiseLevels) / imageSize);
      addScaled(own, shared, 1);
      values.set(own, label * area);
    }
  }
  return { imageSize, margin, canvasSize, values };
}

/** Random values on the corners of cells, linearly interpolated: (size, size). */
function smoothPattern(random: Random, size: number, cells: number): Float64Array {
  const corners = Float64Array.from({ length: (cells + 1) * (cells + 1) }, () => normal(random));
  const values = new Float64Array(size * size);
  for (let y = 0; y < size; y++) {
    const { cell: row, fraction: down } = cellAt(y, size, cells);
    for (let x = 0; x < size; x++) {
      const { cell: column, fraction: right } = cellAt(x, size, cells);
      const corner = row * (cells + 1) + column;
      const above = corners[corner] * (1 - right) + corners[corner + 1] * right;
      const below = corners[corner + cells + 1] * (1 - right) + corners[corner + cells + 2] * right;
      values[y * size + x] = above * (1 - down) + below * down;
    }
  }
  return values;
}

function cellAt(
  pixel: number,
  size: number,
  cells: number,
): { readonly cell: number; readonly fraction: number } {
  const position = ((pixel + 0.5) / size) * cells;
  const cell = Math.floor(position);
  return { cell, fraction: position - cell };
}

/** Moves the mean to 0 and the root mean square to `level`, in place. */
function normalised(values: Float64Array, level: number): Float64Array {
  let sum = 0;
  for (const value of values) sum += value;
  const mean = sum / values.length;
  let squares = 0;
  for (const value of values) squares += (value - mean) * (value - mean);
  const scale = squares > 0 ? level / Math.sqrt(squares / values.length) : 0;
  for (let i = 0; i < values.length; i++) values[i] = (values[i] - mean) * scale;
  return values;
}

function addScaled(target: Float64Array, values: Float64Array, factor: number): void {
  for (let i = 0; i < target.length; i++) target[i] += factor * values[i];
}

/** A standard normal sample that is the same to the bit on every machine. */
function normal(random: Random): number {
  return gaussianQuantiles()[random.uint32() >>> 16];
}
