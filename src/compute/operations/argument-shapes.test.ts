import * as tf from '@tensorflow/tfjs';
import { describe, expect, test } from 'vitest';
import { heapOfWasm, type TensorFlowOperations, tensorFlowOn } from '../../../test/support/operations.js';
import { multiply, rowMajor } from '../wasm/product.js';

const vector = (length: number) => tf.ones([length]) as tf.Tensor1D;
const matrix = (rows: number, columns: number) => tf.ones([rows, columns]) as tf.Tensor2D;
const matrices = (...shape: [number, number, number]) => tf.ones(shape) as tf.Tensor3D;
const image = (...shape: [number, number, number, number]) => tf.ones(shape) as tf.Tensor4D;
const variable = (length: number) => tf.variable(vector(length)) as tf.Variable<tf.Rank.R1>;
const four = () => ({ scale: vector(4), bias: vector(4), mean: variable(4), variance: variable(4) });
const integers = (...values: number[]) => tf.tensor1d(values, 'int32');

/** Calls whose shapes or types do not agree, and what the message must name. */
const wrong: Readonly<Record<string, [message: RegExp, call: (on: TensorFlowOperations) => unknown]>> = {
  'dense: rank of x': [
    /x must have shape \[batch, inputs\], not \[4\]/,
    (on) => on.dense(vector(4) as tf.Tensor as tf.Tensor2D, matrix(4, 2), vector(2)),
  ],
  'dense: inputs': [
    /weights must have shape \[4, units\], not \[5, 2\]/,
    (on) => on.dense(matrix(3, 4), matrix(5, 2), vector(2)),
  ],
  'dense: bias': [
    /bias must have shape \[2\], not \[1\]/,
    (on) => on.dense(matrix(3, 4), matrix(4, 2), vector(1)),
  ],
  'dense: type': [
    /x must be float32, not bool/,
    (on) => on.dense(tf.cast(matrix(3, 4), 'bool'), matrix(4, 2), vector(2)),
  ],
  'conv2d: channels': [
    /filter must have shape \[.*, 3, outputs\], not \[3, 3, 2, 8\]/,
    (on) => on.conv2d(image(2, 5, 5, 3), image(3, 3, 2, 8)),
  ],
  'conv2d: rank': [
    /x must have shape/,
    (on) => on.conv2d(vector(5) as tf.Tensor as tf.Tensor4D, image(3, 3, 2, 8)),
  ],
  'groupedDense: rows': [
    /x must have shape \[5, inputs\], not \[3, 4\]/,
    (on) => on.groupedDense(matrix(3, 4), matrices(2, 4, 6), matrix(2, 6), Int32Array.of(2, 3)),
  ],
  'groupedDense: groups': [
    /weights must have shape \[3, 4, units\], not \[2, 4, 6\]/,
    (on) => on.groupedDense(matrix(3, 4), matrices(2, 4, 6), matrix(2, 6), Int32Array.of(2, 1, 0)),
  ],
  'groupedDense: bias': [
    /bias must have shape \[2, 6\], not \[2, 5\]/,
    (on) => on.groupedDense(matrix(3, 4), matrices(2, 4, 6), matrix(2, 5), Int32Array.of(2, 1)),
  ],
  'groupedDense: counts': [
    /counts/,
    (on) => on.groupedDense(matrix(3, 4), matrices(2, 4, 6), matrix(2, 6), Int32Array.of(4, -1)),
  ],
  'maxPool2d: rank': [/x must have shape/, (on) => on.maxPool2d(matrix(4, 4) as tf.Tensor as tf.Tensor4D)],
  'batchNormalise: scale': [
    /scale must have shape \[4\], not \[3\]/,
    (on) => on.batchNormalise(matrix(3, 4), { ...four(), scale: vector(3) }),
  ],
  'batchNormalise: bias': [
    /bias must have shape \[4\], not \[5\]/,
    (on) => on.batchNormalise(matrix(3, 4), { ...four(), bias: vector(5) }),
  ],
  'batchNormalise: no channels': [
    /channels on its last axis/,
    (on) => on.batchNormalise(tf.scalar(1), four()),
  ],
  'normalise: variance': [
    /variance must have shape \[4\], not \[2\]/,
    (on) => on.normalise(matrix(3, 4), { ...four(), variance: vector(2) }),
  ],
  'softmaxCrossEntropy: labels': [
    /labels must have shape \[3\], not \[4\]/,
    (on) => on.softmaxCrossEntropy(matrix(3, 4), integers(0, 1, 2, 3)),
  ],
  'softmaxCrossEntropy: label type': [
    /labels must be int32, not float32/,
    (on) => on.softmaxCrossEntropy(matrix(3, 4), vector(3)),
  ],
  'gatherRows: index type': [
    /indices must be int32, not float32/,
    (on) => on.gatherRows(matrix(3, 4), vector(2)),
  ],
  'adamWStep: gradient': [
    /gradient must have shape \[4\], not \[5\]/,
    (on) =>
      on.adamWStep(
        variable(4),
        vector(5),
        { first: variable(4), second: variable(4) },
        { learningRate: 1, step: 1 },
      ),
  ],
  'adamWStep: moment': [
    /second must have shape \[4\], not \[3\]/,
    (on) =>
      on.adamWStep(
        variable(4),
        vector(4),
        { first: variable(4), second: variable(3) },
        { learningRate: 1, step: 1 },
      ),
  ],
  'sgdStep: velocity': [
    /velocity must have shape \[4\], not \[2\]/,
    (on) => on.sgdStep(variable(4), vector(4), variable(2), { learningRate: 1 }),
  ],
};

describe.each(['wasm', 'cpu'] as const)('shapes that do not agree are refused on %s', (backend) => {
  test.each(Object.entries(wrong))('%s', async (_, [message, call]) => {
    const on = await tensorFlowOn(backend);
    tf.tidy(() => {
      expect(() => call(on)).toThrow(message);
    });
  });
});

describe('on the heap', () => {
  test('a product of matrices that do not fit is refused', async () => {
    const heap = await heapOfWasm();
    const fits = rowMajor(0, 2, 3);
    expect(() => multiply(heap, fits, rowMajor(0, 4, 5), rowMajor(0, 2, 5), { add: true })).toThrow(
      /\(2, 3\) \(4, 5\)/,
    );
    expect(() => multiply(heap, fits, rowMajor(0, 3, 5), rowMajor(0, 2, 4), { add: true })).toThrow(
      /does not fit \(2, 4\)/,
    );
  });

  test('a kernel is run with all its parameters or not at all', async () => {
    const heap = await heapOfWasm();
    expect(() => heap.call('columnSums', 0, 0)).toThrow(/columnSums takes 4 parameters, not 2/);
    expect(() => heap.call('columnSum')).toThrow(/no kernel columnSum/);
  });
});
