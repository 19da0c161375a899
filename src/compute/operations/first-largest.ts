import * as tf from '@tensorflow/tfjs';
import { type Heap, wasmHeap } from '../wasm/heap.js';

const lanes = 4;
const rowsAtOnce = 1024; // whose findings fit the room

/**
 * The column of each row's largest value; of equal ones the first.
 *
 * @param matrix (rows, columns), no value of which is NaN; of a row that has one any column may be told
 * @returns (rows)
 */
export async function firstLargest(matrix: tf.Tensor2D): Promise<Int32Array> {
  const heap = wasmHeap();
  if (heap) return inHeap(heap, matrix);
  const columns = tf.tidy(() => tf.argMax(matrix, 1));
  try {
    return (await columns.data<'int32'>()).slice();
  } finally {
    columns.dispose();
  }
}

function inHeap(heap: Heap, matrix: tf.Tensor2D): Int32Array {
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
