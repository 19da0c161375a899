import * as tf from '@tensorflow/tfjs';
import { wasmHeap } from '../wasm/heap.js';

/**
 * Consecutive rows of a tensor, without a gradient.
 *
 * The wasm backend's own slice copies the whole tensor to JavaScript first.
 *
 * @param tensor (rows, ...), float32
 * @param start the first row
 * @param count 1 or more; `start + count` is at most the number of rows
 * @returns (count, ...)
 */
export function rowRange<T extends tf.Tensor>(tensor: T, start: number, count: number): T {
  const [rows, ...shape] = tensor.shape;
  const heap = wasmHeap();
  if (!heap) return tf.slice(tensor, [start], [count]);
  const size = tensor.size / rows;
  const output = heap.allocate([count, ...shape]);
  heap.values(output).set(heap.values(tensor).subarray(start * size, (start + count) * size));
  return output as T;
}
