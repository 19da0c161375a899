import * as tf from '@tensorflow/tfjs';
import { limitColumnNorms } from '../max-norm.js';
import { batchNormalise, normalise } from '../operations/batch-normalise.js';
import { conv2d } from '../operations/conv2d.js';
import { dense } from '../operations/dense.js';
import { dropout } from '../operations/dropout.js';
import { firstLargest } from '../operations/first-largest.js';
import { gatherRows } from '../operations/gather-rows.js';
import { createGeometricMean } from '../operations/geometric-mean.js';
import { maxPool2d } from '../operations/max-pool2d.js';
import { rowRange } from '../operations/row-range.js';
import { softTargetCrossEntropy } from '../operations/soft-target-cross-entropy.js';
import { softmaxCrossEntropy } from '../operations/softmax-cross-entropy.js';
import { valuesInPlace } from '../operations/values-in-place.js';
import type { Operations, Scalar, Survivors, Tensor, Variable } from '../operations.js';
import { adamWStep, sgdStep } from '../optimizer-step.js';

/** The operations of the TensorFlow.js backend in force. */
export function createOperations(backend: string): Operations {
  return {
    backend,
    tidy: <T extends Survivors>(scope: () => T) => tf.tidy(scope as () => tf.TensorContainer) as T,
    dispose: (tensors: Survivors) => tf.dispose(tensors as tf.TensorContainer),
    tensor: <Shape extends readonly number[] | []>(values: Float32Array | Int32Array, shape: Shape) =>
      make(values, shape),
    variable<Shape extends readonly number[] | []>(values: Float32Array, shape: Shape) {
      const initial = make(values, shape);
      const variable = tf.variable(asTensor(initial));
      initial.dispose();
      return variable as Variable<Tensor> as Variable<Tensor<Shape>>;
    },
    assign(variable: tf.Variable, values: Float32Array) {
      tf.tidy(() => variable.assign(tf.tensor(values, variable.shape, 'float32')));
    },
    read: async (tensor: tf.Tensor) => (await tensor.data<'float32'>()).slice(),
    async areFinite(tensors: readonly tf.Tensor[]) {
      if (tensors.length === 0) return true;
      const total = tf.tidy(() => tf.addN(tensors.map((tensor) => tf.sum(tensor))));
      const [sum] = await total.data();
      total.dispose();
      return Number.isFinite(sum);
    },
    valueAndGradients(loss: () => Scalar, variables: readonly tf.Variable[]) {
      const { value, grads } = tf.variableGrads(loss as () => tf.Scalar, [...variables]);
      return { value, gradients: variables.map(({ name }) => grads[name]) };
    },
    add: <T extends Tensor>(a: T, b: Tensor | number) => binary(tf.add, a, b),
    sub: <T extends Tensor>(a: T, b: Tensor | number) => binary(tf.sub, a, b),
    mul: <T extends Tensor>(a: T, b: Tensor | number) => binary(tf.mul, a, b),
    div: <T extends Tensor>(a: T, b: Tensor | number) => binary(tf.div, a, b),
    square: <T extends Tensor>(x: T) => tf.square(asTensor(x)) as Tensor as T,
    relu: <T extends Tensor>(x: T) => tf.relu(asTensor(x)) as Tensor as T,
    sum: (x: tf.Tensor) => tf.sum<tf.Scalar>(x),
    rowMeans: (matrix: tf.Tensor2D) => tf.mean<tf.Tensor1D>(matrix, 1),
    rowLogSumExps: (matrix: tf.Tensor2D) => tf.logSumExp<tf.Tensor1D>(matrix, 1),
    softmax: (matrix: tf.Tensor2D) => tf.softmax(matrix),
    matMul: (a: tf.Tensor2D, b: tf.Tensor2D) => tf.matMul(a, b) as tf.Tensor2D,
    reshape: <Shape extends readonly number[] | []>(x: Tensor, shape: Shape) =>
      tf.reshape(asTensor(x), [...shape]) as Tensor as Tensor<Shape>,
    concat: <T extends Tensor>(tensors: readonly T[], axis = 0) =>
      tf.concat(tensors.map(asTensor), axis) as Tensor as T,
    oneHot: (indices: tf.Tensor1D, columns: number) =>
      tf.cast(tf.oneHot(indices, columns), 'float32') as tf.Tensor2D,
    rowRange: <T extends Tensor>(tensor: T, start: number, count: number) =>
      rowRange(asTensor(tensor), start, count) as Tensor as T,
    columnRange: (matrix: tf.Tensor2D, start: number, count = -1) =>
      tf.slice(matrix, [0, start], [-1, count]),
    gatherRows,
    gatherColumns: (matrix: tf.Tensor2D, indices: tf.Tensor1D) => tf.gather(matrix, indices, 1),
    firstLargest,
    valuesInPlace,
    geometricMean: createGeometricMean,
    conv2d,
    dense,
    maxPool2d,
    batchNormalise<T extends Tensor>(
      x: T,
      { scale, bias, mean, variance }: Record<'scale' | 'bias' | 'mean' | 'variance', Tensor>,
      { momentum = 0.9, ...options } = {},
    ) {
      const vectors = [scale, bias].map(asTensor) as [tf.Tensor1D, tf.Tensor1D];
      const ofBatch = batchNormalise(asTensor(x), ...vectors, options);
      const follow = (running: Tensor, value: tf.Tensor1D) =>
        (running as tf.Variable).assign(
          tf.add(tf.mul(asTensor(running), momentum), tf.mul(value, 1 - momentum)),
        );
      follow(mean, ofBatch.mean);
      follow(variance, ofBatch.variance);
      return ofBatch.output as Tensor as T;
    },
    normalise<T extends Tensor>(
      x: T,
      { scale, bias, mean, variance }: Record<'scale' | 'bias' | 'mean' | 'variance', Tensor>,
      options = {},
    ) {
      const vectors = [mean, variance, scale, bias].map(asTensor) as [
        ...[tf.Tensor1D, tf.Tensor1D, tf.Tensor1D, tf.Tensor1D],
      ];
      return normalise(asTensor(x), ...vectors, options) as Tensor as T;
    },
    dropout: <T extends Tensor>(x: T, rate: number, seed: number) =>
      dropout(asTensor(x), rate, seed) as Tensor as T,
    softmaxCrossEntropy,
    softTargetCrossEntropy,
    adamWStep,
    sgdStep,
    limitColumnNorms,
  };
}

const asTensor = (tensor: Tensor) => tensor as tf.Tensor;

function make<Shape extends readonly number[] | []>(
  values: Float32Array | Int32Array,
  shape: Shape,
): Tensor<Shape> {
  const dtype = values instanceof Int32Array ? 'int32' : 'float32';
  return tf.tensor(values, [...shape], dtype) as Tensor as Tensor<Shape>;
}

function binary<T extends Tensor>(
  operation: (a: tf.Tensor, b: tf.Tensor | number) => tf.Tensor,
  a: T,
  b: Tensor | number,
): T {
  return operation(asTensor(a), typeof b === 'number' ? b : asTensor(b)) as Tensor as T;
}
