import * as tf from '@tensorflow/tfjs';
import { assert } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import type { Operations, Survivors, Tensor, Tensor1D, Variable } from '../operations.js';
import { withBackend } from './engine.js';
import type { Kernels } from './kernels.js';
import { targetRows } from './target-rows.js';
import { assertIntegers, assertShape, channelsOf } from './tensor-shape.js';

/**
 * The operations of a backend of TensorFlow.js: its kernels, and TensorFlow.js's own for all the rest. Each checks
 * the shapes of its arguments and runs with that backend in force.
 *
 * @param backend.name as `--backend` takes it
 * @param backend.registered its name in TensorFlow.js, where it has been initialised
 * @param backend.device what it computes on, where it knows a name
 */
export function createOperations({
  name,
  registered,
  device,
  kernels,
}: {
  readonly name: string;
  readonly registered: string;
  readonly device?: string;
  readonly kernels: Kernels;
}): Operations {
  const here = <T>(run: () => T): T => withBackend(registered, run);
  const tidy = <T extends tf.TensorContainer>(scope: () => T): T => here(() => tf.tidy(scope));
  const binary = <T extends Tensor>(
    operation: (a: tf.Tensor, b: tf.Tensor | number) => tf.Tensor,
    a: T,
    b: Tensor | number,
  ) => like<T>(here(() => operation(own(a), typeof b === 'number' ? b : own(b))));

  return {
    backend: name,
    ...(device !== undefined && { device }),

    tidy: <T extends Survivors>(scope: () => T) => tidy(scope as () => tf.TensorContainer) as T,
    dispose: (tensors) => tf.dispose(tensors as tf.TensorContainer),
    tensor: (values, shape) => here(() => like(make(values, shape))),
    variable: (values, shape) =>
      here(() => {
        const initial = make(values, shape);
        const variable = tf.variable(initial);
        initial.dispose();
        return like<Variable<Tensor<typeof shape>>>(variable);
      }),
    assign(variable, values) {
      tidy(() => ownVariable(variable).assign(make(values, variable.shape)));
    },
    read: (tensor) => kernels.read(own(tensor)),
    areFinite: (tensors) => here(() => kernels.areFinite(tensors.map((tensor) => own(tensor)))),
    valueAndGradients: (loss, variables) =>
      here(() => {
        const { value, grads } = tf.variableGrads(() => own<tf.Scalar>(loss()), variables.map(ownVariable));
        return { value, gradients: variables.map((variable) => grads[variable.name]) };
      }),

    add: (a, b) => binary(tf.add, a, b),
    sub: (a, b) => binary(tf.sub, a, b),
    mul: (a, b) => binary(tf.mul, a, b),
    div: (a, b) => binary(tf.div, a, b),
    square: (x) => like(here(() => tf.square(own(x)))),
    sqrt: (x) => like(here(() => tf.sqrt(own(x)))),
    relu: (x) => like(here(() => tf.relu(own(x)))),
    sum: (x) => here(() => tf.sum<tf.Scalar>(own(x))),
    rowMeans: (matrix) => here(() => tf.mean<tf.Tensor1D>(own(matrix), 1)),
    rowLogSumExps: (matrix) => here(() => kernels.rowLogSumExps(own(matrix))),
    softmax: (matrix) => here(() => tf.softmax(own<tf.Tensor2D>(matrix))),
    matMul: (a, b) => here(() => tf.matMul<tf.Tensor2D>(own(a), own(b))),
    reshape: (x, shape) => like(here(() => tf.reshape(own(x), [...shape]))),
    concat: (tensors, axis = 0) =>
      like(
        here(() =>
          tf.concat(
            tensors.map((tensor) => own(tensor)),
            axis,
          ),
        ),
      ),
    oneHot: (indices, columns) =>
      here(() => tf.cast(tf.oneHot(own<tf.Tensor1D>(indices), columns) as tf.Tensor2D, 'float32')),

    rowRange: (tensor, start, count) => like(here(() => kernels.rowRange(own(tensor), start, count))),
    columnRange: (matrix, start, count = -1) =>
      here(() => tf.slice(own<tf.Tensor2D>(matrix), [0, start], [-1, count])),
    gatherRows(matrix, indices) {
      assertShape('gatherRows: matrix', own(matrix), ['rows', 'columns']);
      assertIntegers('gatherRows: indices', own(indices), 'count');
      return here(() => kernels.gatherRows(own(matrix), own(indices)));
    },
    gatherColumns: (matrix, indices) =>
      here(() => tf.gather(own<tf.Tensor2D>(matrix), own<tf.Tensor1D>(indices), 1)),
    firstLargest: (matrix) => here(() => kernels.firstLargest(own(matrix))),
    valuesInPlace: (matrix) => kernels.valuesInPlace(own(matrix)),
    geometricMean: (most) => kernels.geometricMean(most),

    conv2d(x, filter, { strides = 1, padding = 'same', inputGradient = true } = {}) {
      assertShape('conv2d: x', own(x), ['batch', 'height', 'width', 'inputs']);
      assertShape('conv2d: filter', own(filter), ['filterHeight', 'filterWidth', x.shape[3], 'outputs']);
      return here(() => kernels.conv2d(own(x), own(filter), { strides, padding, inputGradient }));
    },
    dense(x, weights, bias, { inputGradient = true, weightsGradient = true } = {}) {
      assertShape('dense: x', own(x), ['batch', 'inputs']);
      assertShape('dense: weights', own(weights), [x.shape[1], 'units']);
      if (bias) assertShape('dense: bias', own(bias), [weights.shape[1]]);
      return here(() =>
        kernels.dense(own(x), own(weights), bias && own<tf.Tensor1D>(bias), {
          inputGradient,
          weightsGradient,
        }),
      );
    },
    groupedDense(x, weights, bias, counts, { activation = 'none' } = {}) {
      const rows = counts.reduce((sum, count) => sum + count, 0);
      if (rows === 0 || counts.some((count) => count < 0))
        assert(false, `groupedDense: counts must be 0 or more, and one row at least, not [${counts}]`);
      assertShape('groupedDense: x', own(x), [rows, 'inputs']);
      assertShape('groupedDense: weights', own(weights), [counts.length, x.shape[1], 'units']);
      assertShape('groupedDense: bias', own(bias), [counts.length, weights.shape[2]]);
      return here(() => kernels.groupedDense(own(x), own(weights), own(bias), counts, activation));
    },
    maxPool2d(x, { size = 2, strides = size, padding = 'valid' } = {}) {
      assertShape('maxPool2d: x', own(x), ['batch', 'height', 'width', 'channels']);
      return here(() => kernels.maxPool2d(own(x), { size, strides, padding }));
    },
    batchNormalise(x, tensors, { momentum = 0.9, epsilon = 1e-3, activation = 'none' } = {}) {
      const { scale, bias, mean, variance } = normalisationOf('batchNormalise', x, tensors);
      const running = [ownVariable(tensors.mean), ownVariable(tensors.variance)];
      const output = tidy(() => {
        const ofBatch = kernels.batchNormalise(own(x), { scale, bias }, { epsilon, activation });
        const follow = (old: tf.Tensor1D, value: tf.Tensor1D) =>
          tf.add(tf.mul(old, momentum), tf.mul(value, 1 - momentum));
        running[0].assign(follow(mean, ofBatch.mean));
        running[1].assign(follow(variance, ofBatch.variance));
        return ofBatch.output;
      });
      return like(output);
    },
    normalise(x, tensors, { epsilon = 1e-3, activation = 'none' } = {}) {
      const own4 = normalisationOf('normalise', x, tensors);
      return like(here(() => kernels.normalise(own(x), own4, { epsilon, activation })));
    },
    dropout: (x, rate, seed) =>
      rate === 0 ? x : like(tidy(() => tf.mul(own(x), dropoutMask(x.shape, rate, seed)))),

    softmaxCrossEntropy(logits, labels, { labelSmoothing = 0 } = {}) {
      assertShape('softmaxCrossEntropy: logits', own(logits), ['batch', 'classes']);
      assertIntegers('softmaxCrossEntropy: labels', own(labels), logits.shape[0]);
      return here(() => kernels.softmaxCrossEntropy(own(logits), own(labels), labelSmoothing));
    },
    softTargetCrossEntropy(logits, targets, { rest = 'spread', rowWeights } = {}) {
      assertShape('softTargetCrossEntropy: logits', own(logits), [targets.rows, targets.columns]);
      const rows = targetRows(targets, rest, rowWeights);
      return here(() => kernels.softTargetCrossEntropy(own(logits), rows));
    },

    adamWStep(parameter, gradient, { first, second }, options) {
      for (const [what, tensor] of Object.entries({ parameter, gradient, first, second })) {
        assertShape(`adamWStep: ${what}`, own(tensor), parameter.shape);
      }
      const moments = { first: ownVariable(first), second: ownVariable(second) };
      const complete = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, ...options };
      tidy(() => kernels.adamWStep(ownVariable(parameter), own(gradient), moments, complete));
    },
    sgdStep(parameter, gradient, velocity, options) {
      for (const [what, tensor] of Object.entries({ parameter, gradient, velocity })) {
        assertShape(`sgdStep: ${what}`, own(tensor), parameter.shape);
      }
      const complete = { momentum: 0.9, weightDecay: 0, nesterov: false, ...options };
      tidy(() => kernels.sgdStep(ownVariable(parameter), own(gradient), ownVariable(velocity), complete));
    },
    limitColumnNorms(weights, maximum) {
      tidy(() => {
        const norms = tf.sqrt(tf.sum(tf.square(own(weights)), 0, true)); // (1, units)
        const scale = tf.minimum(1, tf.div(maximum, tf.maximum(norms, 1e-12)));
        ownVariable(weights).assign(tf.mul(own(weights), scale));
      });
    },
  };
}

// What `Operations` hands out are TensorFlow.js's tensors under a type that says less of them.

/** A tensor of ours as what it is. */
const own = <T extends tf.Tensor = tf.Tensor>(tensor: Tensor): T => tensor as T;
const ownVariable = (variable: Variable): tf.Variable => own<tf.Variable>(variable);
/** One of TensorFlow.js's as one of ours; an operation keeps the rank, or has just set it. */
const like = <T extends Tensor>(tensor: Tensor): T => tensor as T;

function make(values: Float32Array | Int32Array, shape: readonly number[]): tf.Tensor {
  return tf.tensor(values, [...shape], values instanceof Int32Array ? 'int32' : 'float32');
}

/** The vectors of a batch normalisation, checked against what they normalise. */
function normalisationOf(
  operation: string,
  x: Tensor,
  tensors: Readonly<Record<'scale' | 'bias' | 'mean' | 'variance', Tensor1D>>,
) {
  const channels = channelsOf(`${operation}: x`, own(x));
  for (const vector of ['scale', 'bias', 'mean', 'variance'] as const) {
    assertShape(`${operation}: ${vector}`, own(tensors[vector]), [channels]);
  }
  return {
    scale: own<tf.Tensor1D>(tensors.scale),
    bias: own<tf.Tensor1D>(tensors.bias),
    mean: own<tf.Tensor1D>(tensors.mean),
    variance: own<tf.Tensor1D>(tensors.variance),
  };
}

function dropoutMask(shape: readonly number[], rate: number, seed: number): tf.Tensor {
  const random = createRandom(seed, 'dropout');
  const keep = 1 / (1 - rate);
  const threshold = Math.round(rate * 0x1_0000);
  const values = new Float32Array(tf.util.sizeFromShape([...shape]));
  // One draw serves two elements: 16 bits each.
  for (let index = 0; index < values.length; index += 2) {
    const bits = random.uint32();
    values[index] = (bits & 0xffff) < threshold ? 0 : keep;
    if (index + 1 < values.length) values[index + 1] = bits >>> 16 < threshold ? 0 : keep;
  }
  return tf.tensor(values, [...shape]);
}
