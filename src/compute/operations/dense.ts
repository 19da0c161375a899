import * as tf from '@tensorflow/tfjs';
import { assertShape } from '../tensor-shape.js';
import { type Heap, wasmHeap } from '../wasm/heap.js';
import { addProduct, rowMajor, transposed } from '../wasm/product.js';

/**
 * A fully connected layer without activation: `output = x W + b`.
 *
 * Its gradients are `dx = dy W'`, `dW = x' dy` and `db = sum over rows of dy`.
 *
 * @param x (batch, inputs)
 * @param weights (inputs, units)
 * @param bias (units)
 * @returns (batch, units)
 * @throws Error when the shapes do not agree
 */
export function dense(x: tf.Tensor2D, weights: tf.Tensor2D, bias: tf.Tensor1D): tf.Tensor2D {
  assertShape('dense: x', x, ['batch', 'inputs']);
  assertShape('dense: weights', weights, [x.shape[1], 'units']);
  assertShape('dense: bias', bias, [weights.shape[1]]);
  const heap = wasmHeap();
  if (!heap) return tf.add(tf.matMul(x, weights), bias);
  const layer = tf.customGrad((...parameters) => {
    const [x, weights, bias, save] = parameters as [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D, tf.GradSaveFunc];
    save([x, weights]);
    return {
      value: output(heap, x, weights, bias),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, weights] = saved as [tf.Tensor2D, tf.Tensor2D];
        return gradients(heap, dy as tf.Tensor2D, x, weights);
      },
    };
  });
  return layer(x, weights, bias) as tf.Tensor2D;
}

function output(heap: Heap, x: tf.Tensor2D, weights: tf.Tensor2D, bias: tf.Tensor1D): tf.Tensor2D {
  const [batch] = x.shape;
  const [, units] = weights.shape;
  const result = heap.allocate([batch, units]) as tf.Tensor2D;
  const values = heap.values(result);
  values.set(heap.values(bias));
  for (let row = 1; row < batch; row++) values.copyWithin(row * units, 0, units);
  addProduct(heap, view(heap, x), view(heap, weights), view(heap, result));
  return result;
}

function gradients(heap: Heap, dy: tf.Tensor2D, x: tf.Tensor2D, weights: tf.Tensor2D): tf.Tensor[] {
  const [batch, units] = dy.shape;
  const dx = heap.zeros(x.shape) as tf.Tensor2D;
  const dWeights = heap.zeros(weights.shape) as tf.Tensor2D;
  const dBias = heap.zeros([units]);
  addProduct(heap, view(heap, dy), transposed(view(heap, weights)), view(heap, dx));
  addProduct(heap, transposed(view(heap, x)), view(heap, dy), view(heap, dWeights));
  heap.call('columnSums', heap.address(dy), batch, 4 * units, heap.address(dBias));
  return [dx, dWeights, dBias];
}

const view = (heap: Heap, matrix: tf.Tensor2D) => rowMajor(heap.address(matrix), ...matrix.shape);
