import type * as tf from '@tensorflow/tfjs';
import { KdSpecError } from '../../core/errors.js';
import { alignment, type Bound, type Gpu, type Kernel } from './gpu.js';

// One product of matrices serves dense layers, convolutions and all their gradients: what differs is where an entry of
// either matrix lies. A workgroup of 16 x 16 threads makes a tile of 64 x 64 entries, each thread 4 x 4 of them; where a
// product has few rows, such as those of one image, fewer threads make a lower tile.

const tile = 64;
const slice = 16; // of the depth, that a workgroup keeps in its memory
const enoughGroups = 256; // that keep a GPU busy; a deep product of few tiles is split along its depth
const shortestChunk = 128; // of the depth

/** A product as a kernel: `left(row, k)` and `right(k, column)` in WGSL, each called within the matrices. */
export interface Product {
  /** By the rows of a tile. */
  readonly kernels: Readonly<Record<TileRows, Kernel>>;
  readonly sum: Kernel;
}

/** Where the entries of a product's matrices lie. */
export interface Factors {
  /** Bodies of functions that return an entry, of `row` and `k`, and of `k` and `column`. */
  readonly left: string;
  readonly right: string;
  /** The index along which entries lie side by side in memory. */
  readonly leftAlong: 'depth' | 'rows';
  readonly rightAlong: 'depth' | 'columns';
}

/** Columns of a tile of any height. */
export const tileColumns = tile;
/** Rows of a tile. */
export type TileRows = (typeof heights)[number];

const heights = [4, 16, 64] as const;

/** A kernel for each number of rows that a tile may have; those are compiled that are run. */
export const forEachHeight = (make: (rows: TileRows) => Kernel): Product['kernels'] => ({
  4: make(4),
  16: make(16),
  64: make(64),
});

/** What it costs to fetch what a tile multiplies its rows with, in rows that are computed. */
const fetchCost = 8;

/**
 * The rows of a tile that cost least: high tiles compute rows that nobody wants, low ones fetch more often.
 *
 * @param counts rows that are side by side, in each of several products
 */
export function tileRowsFor(counts: Int32Array): TileRows {
  const costOf = (height: number) =>
    counts.reduce((tiles, count) => tiles + Math.ceil(count / height), 0) * (height + fetchCost);
  return heights.reduce((best, height) => (costOf(height) < costOf(best) ? height : best));
}

/**
 * The code by which a workgroup makes a tile of a product.
 *
 * The body that it stands in has set `row0`, `rowEnd`, `column0`, `k0` and `kEnd`: where the tile begins, and where rows
 * and depth end, the same for all threads of the workgroup. The number of columns is `p.columns`. It calls
 * `store(row, column, values)` with four columns of each of a thread's rows, which may lie beyond both ends.
 */
export function tileOf(
  rows: TileRows,
  { left, right, leftAlong, rightAlong }: Factors,
): {
  readonly workgroup: readonly [number, number];
  readonly definitions: string;
  readonly code: string;
} {
  const ofThread = Math.min(4, rows / 4); // rows
  const high = rows / ofThread;
  const threads = 16 * high;
  const [wide, leftWide] = [tile + 1, rows + 1]; // entries of one column fall into different banks of the memory
  const each = (line: (index: number) => string) =>
    Array.from({ length: ofThread }, (_, i) => line(i)).join('\n');
  return {
    workgroup: [16, high],
    definitions: `
      var<workgroup> lefts: array<f32, ${slice * leftWide}>;
      var<workgroup> rights: array<f32, ${slice * wide}>;
      fn left(row: u32, k: u32) -> f32 { ${left} }
      fn right(k: u32, column: u32) -> f32 { ${right} }`,
    code: `
      ${each((i) => `var sum${i} = vec4f();`)}
      for (var k1 = k0; k1 < kEnd; k1 += ${slice}u) {
        for (var i = thread; i < ${slice * rows}u; i += ${threads}u) {
          let leftRow = ${leftAlong === 'depth' ? `i / ${slice}u` : `i % ${rows}u`};
          let leftK = ${leftAlong === 'depth' ? `i % ${slice}u` : `i / ${rows}u`};
          var value = 0.0;
          if (row0 + leftRow < rowEnd && k1 + leftK < kEnd) { value = left(row0 + leftRow, k1 + leftK); }
          lefts[leftK * ${leftWide}u + leftRow] = value;
        }
        for (var i = thread; i < ${slice * tile}u; i += ${threads}u) {
          let rightColumn = ${rightAlong === 'depth' ? `i / ${slice}u` : `i % ${tile}u`};
          let rightK = ${rightAlong === 'depth' ? `i % ${slice}u` : `i / ${tile}u`};
          var value = 0.0;
          if (column0 + rightColumn < p.columns && k1 + rightK < kEnd) {
            value = right(k1 + rightK, column0 + rightColumn);
          }
          rights[rightK * ${wide}u + rightColumn] = value;
        }
        workgroupBarrier();
        for (var k = 0u; k < ${slice}u; k++) {
          let a = k * ${leftWide}u + ${ofThread}u * local.y;
          let b = k * ${wide}u + 4u * local.x;
          let y = vec4f(rights[b], rights[b + 1u], rights[b + 2u], rights[b + 3u]);
          ${each((i) => `sum${i} += lefts[a + ${i}u] * y;`)}
        }
        workgroupBarrier();
      }
      let row = row0 + ${ofThread}u * local.y;
      let column = column0 + 4u * local.x;
      ${each((i) => `store(row + ${i}u, column, sum${i});`)}`,
  };
}

/** Makes the kernels of a product. */
export function createProduct({
  name,
  tensors,
  numbers,
  definitions = '',
  ...factors
}: Factors & {
  readonly name: string;
  readonly tensors: Kernel['tensors'];
  readonly numbers: Kernel['numbers'];
  readonly definitions?: string;
}): Product {
  const kernelOf = (height: TileRows): Kernel => {
    const made = tileOf(height, factors);
    return {
      name: `${name}${height}`,
      tensors: { ...tensors, result: 'write' },
      numbers: {
        ...{ rows: 'u32', columns: 'u32', depth: 'u32', chunk: 'u32', tiles: 'u32', columnTiles: 'u32' },
        ...{ resultStart: 'u32', resultStride: 'u32', resultStep: 'u32', adds: 'u32' },
        ...numbers,
      },
      workgroup: made.workgroup,
      definitions: `
      var<private> part: u32;
      ${definitions}
      ${made.definitions}
      fn store(row: u32, column: u32, values: vec4f) {
        if (row >= p.rows) { return; }
        let at = p.resultStart + part * p.resultStep + row * p.resultStride + column;
        for (var i = 0u; i < 4u; i++) {
          if (column + i >= p.columns) { return; }
          if (p.adds == 1u) { result[at + i] += values[i]; } else { result[at + i] = values[i]; }
        }
      }`,
      body: `
      part = group.z;
      let number = group.y * groups.x + group.x;
      if (number >= p.tiles) { return; }
      let row0 = (number / p.columnTiles) * ${height}u;
      let rowEnd = p.rows;
      let column0 = (number % p.columnTiles) * ${tile}u;
      let k0 = group.z * p.chunk;
      let kEnd = min(p.depth, k0 + p.chunk);
      ${made.code}`,
    };
  };
  return { kernels: forEachHeight(kernelOf), sum: sumOfParts };
}

/** Adds up what the chunks of the depth gave. */
const sumOfParts: Kernel = {
  name: 'sumOfParts',
  tensors: { parts: 'read', result: 'write' },
  numbers: {
    ...{ rows: 'u32', columns: 'u32', count: 'u32' },
    ...{ resultStart: 'u32', resultStride: 'u32', adds: 'u32' },
  },
  body: `
    let size = p.rows * p.columns;
    if (at >= size) { return; }
    var sum = 0.0;
    for (var part = 0u; part < p.count; part++) { sum += parts[part * size + at]; }
    let place = p.resultStart + (at / p.columns) * p.resultStride + at % p.columns;
    if (p.adds == 1u) { result[place] += sum; } else { result[place] = sum; }`,
};

/** The size of a product, and where its result goes. */
export interface ProductShape {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** Of the result, in values: of its first entry, and from row to row; 0 and the columns by default. */
  readonly resultStart?: number;
  readonly resultStride?: number;
  /** Whether it is added to what the result holds. */
  readonly adds?: boolean;
}

/** Multiplies into `tensors.result`. */
export function multiply(
  gpu: Gpu,
  { kernels, sum }: Product,
  tensors: Readonly<Record<string, Bound>> & { readonly result: Bound },
  numbers: Readonly<Record<string, number>>,
  { rows, columns, depth, resultStart = 0, resultStride = columns, adds = false }: ProductShape,
): void {
  const height = tileRowsFor(Int32Array.of(rows));
  const kernel = kernels[height];
  const columnTiles = Math.ceil(columns / tile);
  const tiles = columnTiles * Math.ceil(rows / height);
  const chunk = chunkOf(tiles, { depth, values: rows * columns, bindable: gpu.bindable });
  const size = { rows, columns, depth, chunk, tiles, columnTiles };
  const parts = Math.ceil(depth / chunk);
  const target = { resultStart, resultStride, adds: Number(adds) };
  if (parts === 1) {
    gpu.run(kernel, tensors, { ...size, ...target, resultStep: 0, ...numbers }, [tiles]);
    return;
  }
  const partial = gpu.allocate([parts, rows, columns]);
  const apart = { resultStart: 0, resultStride: columns, resultStep: rows * columns, adds: 0 };
  gpu.run(kernel, { ...tensors, result: partial }, { ...size, ...apart, ...numbers }, [tiles, parts]);
  const sums = { rows, columns, count: parts, ...target };
  gpu.run(sum, { parts: partial, result: tensors.result }, sums, [Math.ceil((rows * columns) / 256)]);
  partial.dispose();
}

/** How much of the depth one workgroup takes: all of it, where the tiles alone keep the GPU busy. */
function chunkOf(
  tiles: number,
  { depth, values, bindable }: { readonly depth: number; readonly values: number; readonly bindable: number },
): number {
  const most = Math.floor(bindable / values); // parts that one tensor holds
  const parts = Math.min(Math.ceil(enoughGroups / tiles), Math.floor(depth / shortestChunk), most);
  if (parts <= 1) return depth;
  return slice * Math.ceil(depth / parts / slice);
}

/** Rows of a matrix, and where they lie. */
export interface RowWindow {
  readonly first: number;
  readonly rows: number;
  readonly bound: Bound;
}

/**
 * Rows of a matrix that one binding reaches, in windows, as bindings start at multiples of `alignment`.
 *
 * @param matrix of two dimensions or more, all but the last of which are rows
 * @returns for each window its rows and where it lies; one window that is the whole matrix, as a rule
 * @throws KdSpecError `backend-failed` where no window can begin
 */
export function rowWindows(gpu: Gpu, matrix: tf.Tensor): readonly RowWindow[] {
  const columns = matrix.shape[matrix.rank - 1];
  const rows = matrix.size / columns;
  if (matrix.size <= gpu.bindable) return [{ first: 0, rows, bound: matrix }];
  return rangesOf(rows, rowsOfWindow(gpu, [columns])).map((range) => windowOf(matrix, range));
}

/**
 * The same rows of two matrices of as many rows, in windows.
 *
 * @throws KdSpecError `backend-failed` where no window can begin
 */
export function commonRowWindows(
  gpu: Gpu,
  one: tf.Tensor2D,
  other: tf.Tensor2D,
): readonly (readonly [RowWindow, RowWindow])[] {
  const [rows, columns] = one.shape;
  const isWhole = Math.max(one.size, other.size) <= gpu.bindable;
  const step = isWhole ? rows : rowsOfWindow(gpu, [columns, other.shape[1]]);
  return rangesOf(rows, step).map((range) => [windowOf(one, range), windowOf(other, range)] as const);
}

function rangesOf(rows: number, step: number): readonly { readonly first: number; readonly rows: number }[] {
  return Array.from({ length: Math.ceil(rows / step) }, (_, index) => {
    const first = index * step;
    return { first, rows: Math.min(step, rows - first) };
  });
}

function windowOf(
  matrix: tf.Tensor,
  { first, rows }: { readonly first: number; readonly rows: number },
): RowWindow {
  const columns = matrix.shape[matrix.rank - 1];
  return { first, rows, bound: { tensor: matrix, start: first * columns, count: rows * columns } };
}

/** The most rows that one binding reaches, and after which another may start, in matrices of so many columns. */
function rowsOfWindow(gpu: Gpu, columns: readonly number[]): number {
  const widest = Math.max(...columns);
  const most = Math.floor(gpu.bindable / widest);
  if (most >= alignment) return most - (most % alignment);
  for (let rows = most; rows > 0; rows--) {
    if (columns.every((width) => (rows * width) % alignment === 0)) return rows;
  }
  throw new KdSpecError(
    'backend-failed',
    `webgpu: rows of ${widest} values cannot be reached in windows of at most ${most} rows on this GPU: ` +
      `take a multiple of ${alignment} classes, --sampled-head, or --backend wasm`,
  );
}
