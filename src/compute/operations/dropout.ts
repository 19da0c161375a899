import * as tf from '@tensorflow/tfjs';
import { createRandom } from '../../core/random.js';

/**
 * Sets a share of the values to zero at random and scales the others, so that the expectation stays.
 *
 * `output = x mask / (1 - rate)`, each element of the mask 1 with probability `1 - rate`. Costs a random draw
 * for every two elements.
 *
 * @param x any shape
 * @param rate share of zeros, in [0, 1)
 * @param seed names the mask: the same seed and shape give the same mask on every backend and machine
 * @returns the shape of x
 * @see Srivastava et al., Dropout, JMLR 15, 2014, section 4; here the scaling is done in training
 */
export function dropout<T extends tf.Tensor>(x: T, rate: number, seed: number): T {
  if (rate === 0) return x;
  return tf.mul(x, dropoutMask(x.shape, rate, seed)) as T;
}

function dropoutMask(shape: number[], rate: number, seed: number): tf.Tensor {
  const random = createRandom(seed, 'dropout');
  const keep = 1 / (1 - rate);
  const threshold = Math.round(rate * 0x1_0000);
  const values = new Float32Array(tf.util.sizeFromShape(shape));
  // One draw serves two elements: 16 bits each.
  for (let index = 0; index < values.length; index += 2) {
    const bits = random.uint32();
    values[index] = (bits & 0xffff) < threshold ? 0 : keep;
    if (index + 1 < values.length) values[index + 1] = bits >>> 16 < threshold ? 0 : keep;
  }
  return tf.tensor(values, shape);
}
