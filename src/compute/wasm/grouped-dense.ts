import type * as tf from '@tensorflow/tfjs';
import type { Kernels } from '../tensorflow-js/kernels.js';
import type { Heap } from './heap.js';

/** A layer of several groups: a product of each group's rows with its weights, in place, with bias and activation. */
export const groupedDenseOn =
  (heap: Heap): Kernels['groupedDense'] =>
  (x, weights, bias, counts, activation) => {
    const [rows, inputs] = x.shape;
    const [, , units] = weights.shape;
    const output = heap.allocate([rows, units]) as tf.Tensor2D;
    const lowest = activation === 'relu' ? 0 : Number.NEGATIVE_INFINITY;
    let [from, matrix, shift, to] = [x, weights, bias, output].map(heap.address) as [
      number,
      number,
      number,
      number,
    ];
    for (const count of counts) {
      if (count > 0) heap.call('denseRows', from, count, 4 * inputs, matrix, 4 * units, shift, lowest, to);
      from += 4 * inputs * count;
      to += 4 * units * count;
      matrix += 4 * inputs * units;
      shift += 4 * units;
    }
    return output;
  };
