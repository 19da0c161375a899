import type { CsrMatrix } from './csr.js';

/** Rows that were written with gaps between them, by threads that did not wait for one another. */
export interface SpacedRows {
  readonly starts: Int32Array; // (rows + 1), where the room of each row begins
  readonly counts: Int32Array; // (rows), entries in use
  readonly indices: Int32Array; // (room)
  readonly values: Float32Array; // (room)
}

/** The matrix of such rows, in the same memory, which they lose: O(entries). */
export function compactRows({ starts, counts, indices, values }: SpacedRows, columns: number): CsrMatrix {
  const rows = counts.length;
  const offsets = new Int32Array(rows + 1);
  for (let row = 0; row < rows; row++) {
    const start = starts[row];
    indices.copyWithin(offsets[row], start, start + counts[row]);
    values.copyWithin(offsets[row], start, start + counts[row]);
    offsets[row + 1] = offsets[row] + counts[row];
  }
  return {
    rows,
    columns,
    offsets,
    indices: indices.subarray(0, offsets[rows]),
    values: values.subarray(0, offsets[rows]),
  };
}
