import * as tf from '@tensorflow/tfjs';
import { KdSpecError } from '../../core/errors.js';
import type { Kernels } from '../tensorflow-js/kernels.js';
import type { Heap } from './heap.js';

/** Consecutive rows. The wasm backend's own slice copies the whole tensor to JavaScript first. */
export const rowRangeOn =
  (heap: Heap): Kernels['rowRange'] =>
  (tensor, start, count) => {
    const [rows, ...shape] = tensor.shape;
    const size = tensor.size / rows;
    const output = heap.allocate([count, ...shape]);
    heap.values(output).set(heap.values(tensor).subarray(start * size, (start + count) * size));
    return output;
  };

/** The values as they lie. */
export const valuesInPlaceOn =
  (heap: Heap): Kernels['valuesInPlace'] =>
  (matrix) => {
    const values = heap.values(matrix);
    return values instanceof Float32Array ? values : undefined;
  };

/** By the kernel of the losses. TensorFlow.js's own takes five passes over the matrix, and an exponential ten times as long. */
export const rowLogSumExpsOn =
  (heap: Heap): Kernels['rowLogSumExps'] =>
  (matrix) => {
    const logSumExps = tf.customGrad((...parameters) => {
      const [matrix, save] = parameters as [tf.Tensor2D, tf.GradSaveFunc];
      const [rows, columns] = matrix.shape;
      const statistics = heap.allocate([rows, 3]);
      heap.call('softmaxStatistics', heap.address(matrix), rows, 4 * columns, heap.address(statistics));
      const value = heap.allocate([rows]);
      const [sums, found] = [heap.values(value), heap.values(statistics)];
      for (let row = 0; row < rows; row++) sums[row] = found[3 * row] + Math.log(found[3 * row + 1]);
      statistics.dispose();
      save([matrix]);
      return {
        value,
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.mul(tf.softmax(saved[0]), tf.expandDims(dy, 1)),
      };
    });
    return logSumExps(matrix) as tf.Tensor1D;
  };

/** Rows at indices, which are checked. */
export const gatherRowsOn =
  (heap: Heap): Kernels['gatherRows'] =>
  (matrix, indices) => {
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
  };

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

const lanes = 4;
const rowsAtOnce = 1024; // whose findings fit the room

/** The column of each row's largest value, by a kernel that finds it lane by lane. */
export const firstLargestOn =
  (heap: Heap): Kernels['firstLargest'] =>
  async (matrix) =>
    firstLargest(heap, matrix);

function firstLargest(heap: Heap, matrix: tf.Tensor2D): Int32Array {
  const [rows, columns] = matrix.shape;
  const whole = columns - (columns % lanes);
  const found = new Int32Array(rows);
  const values = heap.values(matrix);
  const findings = heap.roomValues();
  for (let first = 0; first < rows; first += rowsAtOnce) {
    const count = Math.min(rowsAtOnce, rows - first);
    const address = heap.address(matrix) + 4 * first * columns;
    heap.call('firstLargest', address, count, 4 * columns, 4 * whole, heap.room);
    for (let row = 0; row < count; row++) {
      const at = 2 * lanes * row;
      let best = Number.NEGATIVE_INFINITY;
      let column = 0;
      for (let lane = 0; lane < lanes && lane < whole; lane++) {
        const value = findings[at + lane];
        const place = findings[at + lanes + lane] + lane;
        if (value > best || (value === best && place < column)) {
          best = value;
          column = place;
        }
      }
      for (let c = whole; c < columns; c++) {
        const value = values[(first + row) * columns + c];
        if (value > best) {
          best = value;
          column = c;
        }
      }
      found[first + row] = column;
    }
  }
  return found;
}
