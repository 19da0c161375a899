import type { Heap } from './heap.js';
import { tileColumns, tileRows } from './product-kernels.js';

/** A matrix in the heap: where it begins, its size, and its strides in bytes. Swapped strides transpose it. */
export interface MatrixView {
  readonly address: number;
  readonly rows: number;
  readonly columns: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

// A block of the left factor is (256, 256) floats: it stays in the second-level cache while the right factor's
// panels, which fit the first level, go by.
const blockRows = 256;
const blockDepth = 256;

/** Bytes of room that a product needs beside its matrices. */
export const productRoom = 4 * (blockRows * blockDepth + blockDepth * tileColumns + tileRows * tileColumns);

/** A matrix whose rows lie one after the other. */
export function rowMajor(address: number, rows: number, columns: number): MatrixView {
  return { address, rows, columns, rowStride: 4 * columns, columnStride: 4 };
}

export function transposed({ address, rows, columns, rowStride, columnStride }: MatrixView): MatrixView {
  return { address, rows: columns, columns: rows, rowStride: columnStride, columnStride: rowStride };
}

/**
 * Adds a matrix product to a matrix: `c += a b`.
 *
 * @param a (m, k), any strides
 * @param b (k, n), any strides
 * @param c (m, n), its columns side by side
 */
export function addProduct(heap: Heap, a: MatrixView, b: MatrixView, c: MatrixView): void {
  const panels = heap.room;
  const panel = panels + 4 * blockRows * blockDepth;
  const tile = panel + 4 * blockDepth * tileColumns;
  for (let step = 0; step < a.columns; step += blockDepth) {
    const depth = Math.min(blockDepth, a.columns - step);
    for (let row = 0; row < a.rows; row += blockRows) {
      const rows = Math.min(blockRows, a.rows - row);
      const left = a.address + row * a.rowStride + step * a.columnStride;
      heap.call('packLeft', left, a.rowStride, a.columnStride, rows, depth, panels);
      heap.call(
        'multiplyPacked',
        panels,
        b.address + step * b.rowStride,
        b.rowStride,
        b.columnStride,
        c.address + row * c.rowStride,
        c.rowStride,
        rows,
        b.columns,
        depth,
        panel,
        tile,
      );
    }
  }
}
