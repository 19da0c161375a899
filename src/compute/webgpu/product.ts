import type * as tf from '@tensorflow/tfjs';
import { KdSpecError } from '../../core/errors.js';
import { alignment, type Bound, type Gpu, type Kernel } from './gpu.js';

// One product of matrices serves dense layers, convolutions and all their gradients: what differs is where an entry of
// either matrix lies. A workgroup of 16 x 16 threads makes a tile of 64 x 64 entries, each thread 4 x 4 of them.

const tile = 64;
const slice = 16; // of the depth, that a workgroup keeps in its memory
const enoughGroups = 256; // that keep a GPU busy; a deep product of few tiles is split along its depth
const shortestChunk = 128; // of the depth

/** A product as a kernel: `left(row, k)` and `right(k, column)` in WGSL, each called within the matrices. */
export interface Product {
  readonly kernel: Kernel;
  readonly sum: Kernel;
}

/**
 * Makes the kernel of a product.
 *
 * @param options.left, options.right bodies of functions that return an entry, of `row`, `column` and `k`
 * @param options.leftAlong, options.rightAlong the index along which entries lie side by side in memory
 */
export function createProduct({
  name,
  tensors,
  numbers,
  definitions = '',
  left,
  leftAlong,
  right,
  rightAlong,
}: {
  readonly name: string;
  readonly tensors: Kernel['tensors'];
  readonly numbers: Kernel['numbers'];
  readonly definitions?: string;
  readonly left: string;
  readonly leftAlong: 'depth' | 'rows';
  readonly right: string;
  readonly rightAlong: 'depth' | 'columns';
}): Product {
  const wide = tile + 1; // entries of one column fall into different banks of the memory
  const kernel: Kernel = {
    name,
    tensors: { ...tensors, result: 'write' },
    numbers: {
      ...{ rows: 'u32', columns: 'u32', depth: 'u32', chunk: 'u32' },
      ...{ resultStart: 'u32', resultStride: 'u32', resultStep: 'u32', adds: 'u32' },
      ...numbers,
    },
    workgroup: [16, 16],
    definitions: `
      var<workgroup> lefts: array<f32, ${slice * wide}>;
      var<workgroup> rights: array<f32, ${slice * wide}>;
      ${definitions}
      fn left(row: u32, k: u32) -> f32 { ${left} }
      fn right(k: u32, column: u32) -> f32 { ${right} }
      fn store(row: u32, column: u32, z: u32, values: vec4f) {
        if (row >= p.rows) { return; }
        let at = p.resultStart + z * p.resultStep + row * p.resultStride + column;
        for (var i = 0u; i < 4u; i++) {
          if (column + i >= p.columns) { return; }
          if (p.adds == 1u) { result[at + i] += values[i]; } else { result[at + i] = values[i]; }
        }
      }`,
    body: `
      let row0 = group.y * ${tile}u;
      let column0 = group.x * ${tile}u;
      let end = min(p.depth, (group.z + 1u) * p.chunk);
      var sum0 = vec4f(); var sum1 = vec4f(); var sum2 = vec4f(); var sum3 = vec4f();
      for (var k0 = group.z * p.chunk; k0 < end; k0 += ${slice}u) {
        for (var i = thread; i < ${slice * tile}u; i += 256u) {
          let leftRow = ${leftAlong === 'depth' ? `i / ${slice}u` : `i % ${tile}u`};
          let leftK = ${leftAlong === 'depth' ? `i % ${slice}u` : `i / ${tile}u`};
          var value = 0.0;
          if (row0 + leftRow < p.rows && k0 + leftK < end) { value = left(row0 + leftRow, k0 + leftK); }
          lefts[leftK * ${wide}u + leftRow] = value;
          let rightColumn = ${rightAlong === 'depth' ? `i / ${slice}u` : `i % ${tile}u`};
          let rightK = ${rightAlong === 'depth' ? `i % ${slice}u` : `i / ${tile}u`};
          value = 0.0;
          if (column0 + rightColumn < p.columns && k0 + rightK < end) {
            value = right(k0 + rightK, column0 + rightColumn);
          }
          rights[rightK * ${wide}u + rightColumn] = value;
        }
        workgroupBarrier();
        for (var k = 0u; k < ${slice}u; k++) {
          let a = k * ${wide}u + 4u * local.y;
          let b = k * ${wide}u + 4u * local.x;
          let y = vec4f(rights[b], rights[b + 1u], rights[b + 2u], rights[b + 3u]);
          sum0 += lefts[a] * y;
          sum1 += lefts[a + 1u] * y;
          sum2 += lefts[a + 2u] * y;
          sum3 += lefts[a + 3u] * y;
        }
        workgroupBarrier();
      }
      let row = row0 + 4u * local.y;
      let column = column0 + 4u * local.x;
      store(row, column, group.z, sum0);
      store(row + 1u, column, group.z, sum1);
      store(row + 2u, column, group.z, sum2);
      store(row + 3u, column, group.z, sum3);`,
  };
  return { kernel, sum: sumOfParts };
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
  { kernel, sum }: Product,
  tensors: Readonly<Record<string, Bound>> & { readonly result: Bound },
  numbers: Readonly<Record<string, number>>,
  { rows, columns, depth, resultStart = 0, resultStride = columns, adds = false }: ProductShape,
): void {
  const tiles = [Math.ceil(columns / tile), Math.ceil(rows / tile)];
  const chunk = chunkOf(tiles[0] * tiles[1], { depth, values: rows * columns, bindable: gpu.bindable });
  const size = { rows, columns, depth, chunk };
  const parts = Math.ceil(depth / chunk);
  const target = { resultStart, resultStride, adds: Number(adds) };
  if (parts === 1) {
    gpu.run(kernel, tensors, { ...size, ...target, resultStep: 0, ...numbers }, [...tiles, 1]);
    return;
  }
  const partial = gpu.allocate([parts, rows, columns]);
  const apart = { resultStart: 0, resultStride: columns, resultStep: rows * columns, adds: 0 };
  gpu.run(kernel, { ...tensors, result: partial }, { ...size, ...apart, ...numbers }, [...tiles, parts]);
  const groups = [Math.ceil((rows * columns) / 256)];
  gpu.run(
    sum,
    { parts: partial, result: tensors.result },
    { rows, columns, count: parts, ...target },
    groups,
  );
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

/**
 * Rows of a matrix that one binding reaches, in windows, as bindings start at multiples of `alignment`.
 *
 * @returns for each window its rows and where it lies; one window that is the whole matrix, as a rule
 */
export function rowWindows(
  gpu: Gpu,
  matrix: tf.Tensor,
): readonly { readonly first: number; readonly rows: number; readonly bound: Bound }[] {
  const rows = matrix.shape[0];
  const columns = matrix.size / rows;
  if (matrix.size <= gpu.bindable) return [{ first: 0, rows, bound: matrix }];
  const most = Math.floor(gpu.bindable / columns);
  const step = most < alignment ? stepOf(columns, most) : most - (most % alignment);
  const windows = [];
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const bound = { tensor: matrix, start: first * columns, count: count * columns };
    windows.push({ first, rows: count, bound });
  }
  return windows;
}

/** The most rows up to a limit after which a binding may start. */
function stepOf(columns: number, most: number): number {
  for (let rows = most; rows > 0; rows--) if ((rows * columns) % alignment === 0) return rows;
  throw new KdSpecError(
    'backend-failed',
    `webgpu: rows of ${columns} values cannot be reached in windows of at most ${most} rows on this GPU: ` +
      `take a multiple of ${alignment} classes, --sampled-head, or --backend wasm`,
  );
}
