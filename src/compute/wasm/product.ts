import { assert } from '../../core/errors.js';
import type { Heap } from './heap.js';
import { blockDepth, blockRows, panelOffset, tileOffset } from './product-kernels.js';

/** A matrix in the heap: where it begins, its size, and its strides in bytes. Swapped strides transpose it. */
export interface MatrixView {
  readonly address: number;
  readonly rows: number;
  readonly columns: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

/** A matrix whose rows lie one after the other. */
export function rowMajor(address: number, rows: number, columns: number): MatrixView {
  return { address, rows, columns, rowStride: 4 * columns, columnStride: 4 };
}

export function transposed({ address, rows, columns, rowStride, columnStride }: MatrixView): MatrixView {
  return { address, rows: columns, columns: rows, rowStride: columnStride, columnStride: rowStride };
}

/**
 * Adds a matrix product to a matrix, `c += a b`, or puts it there, `c = a b`.
 *
 * @param a (m, k), any strides
 * @param b (k, n), any strides
 * @param c (m, n), its columns side by side
 * @throws Error when the sizes do not agree
 */
export function multiply(
  heap: Heap,
  a: MatrixView,
  b: MatrixView,
  c: MatrixView,
  { add }: { readonly add: boolean },
): void {
  const agrees = a.columns === b.rows && a.rows === c.rows && b.columns === c.columns && c.columnStride === 4;
  if (!agrees) {
    const [left, right, sum] = [a, b, c].map(({ rows, columns }) => `(${rows}, ${columns})`);
    assert(false, `a product ${left} ${right} does not fit ${sum}`);
  }
  const panels = heap.room;
  // One round at least: a product over no terms is zero.
  for (let step = 0; step === 0 || step < a.columns; step += blockDepth) {
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
        Number(step === 0 && !add),
        panels + panelOffset,
        panels + tileOffset,
      );
    }
  }
}
