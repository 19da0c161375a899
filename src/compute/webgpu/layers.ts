import * as tf from '@tensorflow/tfjs';
import type { Kernels } from '../tensorflow-js/kernels.js';
import { columnSums } from './columns.js';
import type { Gpu, Kernel } from './gpu.js';
import { createProduct, multiply, rowWindows } from './product.js';

const forward = createProduct({
  name: 'dense',
  tensors: { x: 'read', weights: 'read' },
  numbers: { inputs: 'u32', first: 'u32' },
  left: 'return x[row * p.inputs + p.first + k];',
  leftAlong: 'depth',
  right: 'return weights[k * p.columns + column];',
  rightAlong: 'columns',
});

const inputGradient = createProduct({
  name: 'denseInputGradient',
  tensors: { dy: 'read', weights: 'read' },
  numbers: {},
  left: 'return dy[row * p.depth + k];',
  leftAlong: 'depth',
  right: 'return weights[column * p.depth + k];',
  rightAlong: 'depth',
});

const weightsGradient = createProduct({
  name: 'denseWeightsGradient',
  tensors: { x: 'read', dy: 'read' },
  numbers: { inputs: 'u32', first: 'u32', firstExample: 'u32' },
  left: 'return x[(p.firstExample + k) * p.inputs + p.first + row];',
  leftAlong: 'rows',
  right: 'return dy[k * p.columns + column];',
  rightAlong: 'columns',
});

const addBias: Kernel = {
  name: 'addBias',
  tensors: { bias: 'read', result: 'write' },
  numbers: { size: 'u32', columns: 'u32' },
  body: 'if (at < p.size) { result[at] += bias[at % p.columns]; }',
};

/**
 * A fully connected layer and its gradients.
 *
 * Matrices that one binding does not reach, such as the weights of a head of a million classes, are worked on in
 * windows of rows: of the weights a window takes some of the inputs, of the outputs some of the examples.
 */
export const denseOn =
  (gpu: Gpu): Kernels['dense'] =>
  (x, weights, bias, { inputGradient: flowsOn, weightsGradient: isTrained }) => {
    const [batch, inputs] = x.shape;
    const [, units] = weights.shape;
    const layer = tf.customGrad((...parameters) => {
      const [x, weights] = parameters as [tf.Tensor2D, tf.Tensor2D];
      const save = parameters.at(-1) as tf.GradSaveFunc;
      save([x, weights]);
      return {
        value: denseForward(gpu, x, weights, bias),
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [x, weights] = saved as [tf.Tensor2D, tf.Tensor2D];
          const dx = flowsOn ? gpu.allocate([batch, inputs]) : tf.zerosLike(x);
          const dWeights = isTrained ? gpu.allocate([inputs, units]) : tf.zerosLike(weights);
          const examples = rowWindows(gpu, dy);
          for (const { first, rows, bound } of flowsOn ? rowWindows(gpu, weights) : []) {
            for (const { first: firstExample, rows: count, bound: upstream } of examples) {
              const shape = { rows: count, columns: rows, depth: units };
              const target = { resultStart: firstExample * inputs + first, resultStride: inputs };
              const tensors = { dy: upstream, weights: bound, result: dx };
              multiply(gpu, inputGradient, tensors, {}, { ...shape, ...target });
            }
          }
          for (const { first, rows, bound } of isTrained ? rowWindows(gpu, dWeights) : []) {
            for (const { first: firstExample, rows: count, bound: upstream } of examples) {
              const shape = { rows, columns: units, depth: count, adds: firstExample > 0 };
              const tensors = { x, dy: upstream, result: bound };
              multiply(gpu, weightsGradient, tensors, { inputs, first, firstExample }, shape);
            }
          }
          return bias ? [dx, dWeights, columnSums(gpu, dy)] : [dx, dWeights];
        },
      };
    });
    return layer(...[x, weights, ...(bias ? [bias] : [])]) as tf.Tensor2D;
  };

function denseForward(
  gpu: Gpu,
  x: tf.Tensor2D,
  weights: tf.Tensor2D,
  bias: tf.Tensor1D | undefined,
): tf.Tensor {
  const [batch, inputs] = x.shape;
  const [, units] = weights.shape;
  const output = gpu.allocate([batch, units]);
  const examples = rowWindows(gpu, output);
  for (const { first: firstExample, rows: count, bound: result } of examples) {
    for (const { first, rows: depth, bound } of rowWindows(gpu, weights)) {
      const tensors = { x, weights: bound, result };
      const numbers = { inputs, first: firstExample * inputs + first };
      multiply(gpu, forward, tensors, numbers, { rows: count, columns: units, depth, adds: first > 0 });
    }
    if (bias) {
      const size = count * units;
      gpu.run(addBias, { bias, result }, { size, columns: units }, [Math.ceil(size / 256)]);
    }
  }
  return output;
}

const geometry: Kernel['numbers'] = {
  ...{ height: 'u32', width: 'u32', inputs: 'u32', outHeight: 'u32', outWidth: 'u32', outputs: 'u32' },
  ...{ filterHeight: 'u32', filterWidth: 'u32', strides: 'u32', top: 'u32', start: 'u32' },
};

/** The pixel of the input under an entry of the filter, at a place of the output; 0 outside of the image. */
const unfolded = `
  fn unfolded(place: u32, entry: u32) -> f32 {
    let channel = entry % p.inputs;
    let offset = entry / p.inputs;
    let column = place % p.outWidth;
    let rows = place / p.outWidth;
    // What lies above or left of the image comes out huge, and is outside too.
    let iy = (rows % p.outHeight) * p.strides + offset / p.filterWidth - p.top;
    let ix = column * p.strides + offset % p.filterWidth - p.start;
    if (iy >= p.height || ix >= p.width) { return 0.0; }
    return x[(((rows / p.outHeight) * p.height + iy) * p.width + ix) * p.inputs + channel];
  }`;

const convolution = createProduct({
  name: 'conv2d',
  tensors: { x: 'read', weights: 'read' },
  numbers: geometry,
  definitions: unfolded,
  left: 'return unfolded(row, k);',
  leftAlong: 'depth',
  right: 'return weights[k * p.columns + column];',
  rightAlong: 'columns',
});

const filterGradient = createProduct({
  name: 'conv2dFilterGradient',
  tensors: { x: 'read', dy: 'read' },
  numbers: geometry,
  definitions: unfolded,
  left: 'return unfolded(k, row);',
  leftAlong: 'rows',
  right: 'return dy[k * p.columns + column];',
  rightAlong: 'columns',
});

const convolutionInputGradient = createProduct({
  name: 'conv2dInputGradient',
  tensors: { weights: 'read', dy: 'read' },
  numbers: geometry,
  left: `
    let output = k % p.outputs;
    let offset = k / p.outputs;
    let rows = row / p.width;
    let y = rows % p.height + p.top - offset / p.filterWidth;
    let x = row % p.width + p.start - offset % p.filterWidth;
    if (y % p.strides != 0u || x % p.strides != 0u) { return 0.0; }
    let oy = y / p.strides;
    let ox = x / p.strides;
    if (oy >= p.outHeight || ox >= p.outWidth) { return 0.0; }
    return dy[(((rows / p.height) * p.outHeight + oy) * p.outWidth + ox) * p.outputs + output];`,
  leftAlong: 'depth',
  right: 'return weights[((k / p.outputs) * p.inputs + column) * p.outputs + k % p.outputs];',
  rightAlong: 'depth',
});

/** A convolution and its gradients, each a product with the image unfolded on the way. */
export const conv2dOn =
  (gpu: Gpu): Kernels['conv2d'] =>
  (x, filter, { strides, padding, inputGradient: flowsOn }) => {
    const [batch, height, width, inputs] = x.shape;
    const [filterHeight, filterWidth, , outputs] = filter.shape;
    const vertical = extentOf(height, filterHeight, strides, padding);
    const horizontal = extentOf(width, filterWidth, strides, padding);
    const [outHeight, outWidth] = [vertical.size, horizontal.size];
    const numbers = {
      ...{ height, width, inputs, outHeight, outWidth, outputs, filterHeight, filterWidth, strides },
      ...{ top: vertical.before, start: horizontal.before },
    };
    const places = batch * outHeight * outWidth;
    const entries = filterHeight * filterWidth * inputs;
    const layer = tf.customGrad((...parameters) => {
      const [x, filter, save] = parameters as [tf.Tensor4D, tf.Tensor4D, tf.GradSaveFunc];
      save([x, filter]);
      const value = gpu.allocate([batch, outHeight, outWidth, outputs]);
      const shape = { rows: places, columns: outputs, depth: entries };
      multiply(gpu, convolution, { x, weights: filter, result: value }, numbers, shape);
      return {
        value,
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [x, filter] = saved as [tf.Tensor4D, tf.Tensor4D];
          const dFilter = gpu.allocate(filter.shape);
          const ofFilter = { rows: entries, columns: outputs, depth: places };
          multiply(gpu, filterGradient, { x, dy, result: dFilter }, numbers, ofFilter);
          if (!flowsOn) return [tf.zerosLike(x), dFilter];
          const dx = gpu.allocate(x.shape);
          const ofInput = {
            rows: batch * height * width,
            columns: inputs,
            depth: filterHeight * filterWidth * outputs,
          };
          multiply(gpu, convolutionInputGradient, { weights: filter, dy, result: dx }, numbers, ofInput);
          return [dx, dFilter];
        },
      };
    });
    return layer(x, filter) as tf.Tensor4D;
  };

/** How many windows fit along an axis, and how much is added before it. */
function extentOf(extent: number, filter: number, strides: number, padding: 'same' | 'valid') {
  if (padding === 'valid') return { size: Math.floor((extent - filter) / strides) + 1, before: 0 };
  const size = Math.ceil(extent / strides);
  return { size, before: Math.floor(Math.max(0, (size - 1) * strides + filter - extent) / 2) };
}
