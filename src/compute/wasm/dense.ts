import * as tf from '@tensorflow/tfjs';
import type { Kernels } from '../tensorflow-js/kernels.js';
import type { Heap } from './heap.js';
import { multiply, rowMajor, transposed } from './product.js';

/** A fully connected layer: `x W + b`, and its gradients `dy W'`, `x' dy` and the sums of dy over the rows. */
export const denseOn =
  (heap: Heap): Kernels['dense'] =>
  (x, weights, bias, { inputGradient, weightsGradient }) => {
    const layer = tf.customGrad((...parameters) => {
      const save = parameters.at(-1) as tf.GradSaveFunc;
      save([x, weights]);
      return {
        value: output(heap, x, weights, bias),
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [x, weights] = saved as [tf.Tensor2D, tf.Tensor2D];
          const [batch, units] = dy.shape as [number, number];
          const dx = inputGradient ? gradientOfInput(heap, dy as tf.Tensor2D, weights) : heap.zeros(x.shape);
          const dWeights = weightsGradient
            ? gradientOfWeights(heap, dy as tf.Tensor2D, x)
            : heap.zeros(weights.shape);
          if (!bias) return [dx, dWeights];
          const dBias = heap.zeros([units]);
          heap.call('columnSums', heap.address(dy), batch, 4 * units, heap.address(dBias));
          return [dx, dWeights, dBias];
        },
      };
    });
    return layer(...[x, weights, ...(bias ? [bias] : [])]) as tf.Tensor2D;
  };

function output(
  heap: Heap,
  x: tf.Tensor2D,
  weights: tf.Tensor2D,
  bias: tf.Tensor1D | undefined,
): tf.Tensor2D {
  const [batch] = x.shape;
  const [, units] = weights.shape;
  const result = heap.allocate([batch, units]) as tf.Tensor2D;
  if (bias) {
    const values = heap.values(result);
    values.set(heap.values(bias));
    for (let row = 1; row < batch; row++) values.copyWithin(row * units, 0, units);
  }
  multiply(heap, view(heap, x), view(heap, weights), view(heap, result), { add: bias !== undefined });
  return result;
}

function gradientOfInput(heap: Heap, dy: tf.Tensor2D, weights: tf.Tensor2D): tf.Tensor2D {
  const dx = heap.allocate([dy.shape[0], weights.shape[0]]) as tf.Tensor2D;
  multiply(heap, view(heap, dy), transposed(view(heap, weights)), view(heap, dx), { add: false });
  return dx;
}

function gradientOfWeights(heap: Heap, dy: tf.Tensor2D, x: tf.Tensor2D): tf.Tensor2D {
  const dWeights = heap.allocate([x.shape[1], dy.shape[1]]) as tf.Tensor2D;
  multiply(heap, transposed(view(heap, x)), view(heap, dy), view(heap, dWeights), { add: false });
  return dWeights;
}

const view = (heap: Heap, matrix: tf.Tensor2D) => rowMajor(heap.address(matrix), ...matrix.shape);
