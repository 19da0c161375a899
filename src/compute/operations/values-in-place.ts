import type * as tf from '@tensorflow/tfjs';
import { wasmHeap } from '../wasm/heap.js';

/**
 * The values of a matrix as they lie in the backend's memory.
 *
 * @param matrix (rows, columns)
 * @returns (rows * columns), good until the next operation of the backend; undefined on backends whose memory
 *   JavaScript cannot see
 */
export function valuesInPlace(matrix: tf.Tensor2D): Float32Array | undefined {
  return wasmHeap()?.values(matrix) as Float32Array | undefined;
}
