import * as tf from '@tensorflow/tfjs';
import { KdSpecError } from '../../core/errors.js';
import { assertIntegers, assertShape } from '../tensor-shape.js';
import { type Heap, wasmHeap } from '../wasm/heap.js';

/**
 * The rows of a matrix at the given indices; the gradient adds the rows up where an index repeats.
 *
 * Costs a copy of the rows; the gradient has the shape of the whole matrix.
 *
 * @param matrix (rows, columns)
 * @param indices (count), int32, each in [0, rows)
 * @returns (count, columns)
 * @throws Error when the matrix or the indices have another rank or type
 * @throws KdSpecError `option-invalid` when an index is no row, on wasm
 */
export function gatherRows(matrix: tf.Tensor2D, indices: tf.Tensor1D): tf.Tensor2D {
  assertShape('gatherRows: matrix', matrix, ['rows', 'columns']);
  assertIntegers('gatherRows: indices', indices, 'count');
  const heap = wasmHeap();
  if (!heap) return tf.gather(matrix, indices);
  const gather = tf.customGrad((...parameters) => {
    const [matrix, save] = parameters as [tf.Tensor2D, tf.GradSaveFunc];
    const [rows, columns] = matrix.shape;
    save([indices]);
    heap.values(indices).forEach((row, position) => {
      if (row >= 0 && row < rows) return;
      throw new KdSpecError(
        'option-invalid',
        `expected row indices from 0 to ${rows - 1}, got ${row} at position ${position}: check the indices`,
      );
    });
    return {
      value: copyRows(heap, matrix, indices),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [indices] = saved as [tf.Tensor1D];
        const gradient = heap.zeros([rows, columns]);
        heap.values(indices).forEach((row, position) => {
          const [source, target] = [dy, gradient].map(heap.address) as [number, number];
          // One row of the matrix with one row to add to it: sums over a column of height 1.
          heap.call(
            'columnSums',
            source + 4 * columns * position,
            1,
            4 * columns,
            target + 4 * columns * row,
          );
        });
        return gradient;
      },
    };
  });
  return gather(matrix) as tf.Tensor2D;
}

/** The backend's own kernel works out where each single value lies. */
function copyRows(heap: Heap, matrix: tf.Tensor2D, indices: tf.Tensor1D): tf.Tensor2D {
  const [, columns] = matrix.shape;
  const output = heap.allocate([indices.size, columns]) as tf.Tensor2D;
  const [source, target] = [heap.values(matrix), heap.values(output)];
  heap.values(indices).forEach((row, position) => {
    target.set(source.subarray(row * columns, (row + 1) * columns), position * columns);
  });
  return output;
}
