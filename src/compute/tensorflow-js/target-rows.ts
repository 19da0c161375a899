import { assert } from '../../core/errors.js';
import type { CsrMatrix } from '../../math/csr.js';
import type { RemainingMass } from '../operations.js';

/** One row of the targets of a soft-target cross-entropy. */
export interface TargetRow {
  /** Its classes, and their masses. */
  readonly indices: Int32Array;
  readonly values: Float32Array;
  /** Factor of its loss. */
  readonly weight: number;
  /** Mass that the entries leave over; 0 where no class is left. */
  readonly rest: number;
  readonly kind: RemainingMass;
  /** Classes that are not listed. */
  readonly unlisted: number;
}

/**
 * Checks the targets row by row, and finds out what each leaves over.
 *
 * @throws Error when a class is no column, a mass is negative, or a row has more than 1
 */
export function targetRows(
  { rows, columns, offsets, indices, values }: CsrMatrix,
  kind: RemainingMass,
  weights: Float32Array | undefined,
): readonly TargetRow[] {
  if (weights && weights.length !== rows)
    assert(false, `softTargetCrossEntropy: ${weights.length} weights for ${rows} rows`);
  return Array.from({ length: rows }, (_, row) => {
    const [start, end] = [offsets[row], offsets[row + 1]];
    let sum = 0;
    for (let k = start; k < end; k++) {
      if (!(indices[k] >= 0 && indices[k] < columns && values[k] >= 0))
        assert(false, `softTargetCrossEntropy: row ${row} has ${values[k]} at ${indices[k]} of ${columns}`);
      sum += values[k];
    }
    if (!(sum < 1 + 1e-3)) assert(false, `softTargetCrossEntropy: row ${row} sums to ${sum}, more than 1`);
    const unlisted = columns - (end - start);
    return {
      indices: indices.subarray(start, end),
      values: values.subarray(start, end),
      weight: weights ? weights[row] : 1,
      rest: unlisted === 0 || (kind === 'bucket' && 1 - sum < 1e-7) ? 0 : Math.max(0, 1 - sum),
      kind,
      unlisted,
    };
  });
}
