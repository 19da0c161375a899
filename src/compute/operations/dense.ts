import * as tf from '@tensorflow/tfjs';
import { assertShape } from '../tensor-shape.js';
import { denseNative } from '../tensorflow/dense.js';
import { nativeOperations } from '../tensorflow/native-operations.js';
import { type Heap, wasmHeap } from '../wasm/heap.js';
import { multiply, rowMajor, transposed } from '../wasm/product.js';

export interface DenseOptions {
  /** Whether the gradient flows on into the input; a first layer saves its cost with `false` and gets zeros. */
  readonly inputGradient?: boolean;
}

/**
 * A fully connected layer without activation: `output = x W + b`.
 *
 * Its gradients are `dx = dy W'`, `dW = x' dy` and `db = sum over rows of dy`. Costs `2 batch inputs units`
 * floating-point operations, and its gradients as many each.
 *
 * @param x (batch, inputs)
 * @param weights (inputs, units)
 * @param bias (units); undefined for none
 * @returns (batch, units)
 * @throws Error when the shapes do not agree
 * @see Goodfellow, Bengio and Courville, Deep Learning, section 6.5.4, for the gradients
 */
export function dense(
  x: tf.Tensor2D,
  weights: tf.Tensor2D,
  bias: tf.Tensor1D | undefined,
  { inputGradient = true }: DenseOptions = {},
): tf.Tensor2D {
  assertShape('dense: x', x, ['batch', 'inputs']);
  assertShape('dense: weights', weights, [x.shape[1], 'units']);
  if (bias) assertShape('dense: bias', bias, [weights.shape[1]]);
  const heap = wasmHeap();
  const native = nativeOperations();
  if (native) return denseNative(native, x, weights, bias, { inputGradient });
  if (!heap) {
    const product = tf.matMul(x, weights);
    return bias ? tf.add<tf.Tensor2D>(product, bias) : (product as tf.Tensor2D);
  }
  const layer = tf.customGrad((...parameters) => {
    const save = parameters.at(-1) as unknown as tf.GradSaveFunc;
    save([x, weights]);
    return {
      value: output(heap, x, weights, bias),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, weights] = saved as [tf.Tensor2D, tf.Tensor2D];
        const [batch, units] = dy.shape as [number, number];
        const dx = inputGradient ? gradientOfInput(heap, dy as tf.Tensor2D, weights) : heap.zeros(x.shape);
        const dWeights = gradientOfWeights(heap, dy as tf.Tensor2D, x);
        if (!bias) return [dx, dWeights];
        const dBias = heap.zeros([units]);
        heap.call('columnSums', heap.address(dy), batch, 4 * units, heap.address(dBias));
        return [dx, dWeights, dBias];
      },
    };
  });
  return layer(...[x, weights, ...(bias ? [bias] : [])]) as tf.Tensor2D;
}

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
