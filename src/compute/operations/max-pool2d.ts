import * as tf from '@tensorflow/tfjs';
import { assertShape } from '../tensor-shape.js';
import { type Heap, wasmHeap } from '../wasm/heap.js';

export interface MaxPool2dOptions {
  /** Height and width of the window. */
  readonly size?: number;
  /** Step between windows; the size of the window when left out. */
  readonly strides?: number;
  readonly padding?: 'same' | 'valid';
}

/**
 * The largest value of each window, channel by channel.
 *
 * The gradient flows to the first largest value of each window.
 *
 * @param x (batch, height, width, channels)
 * @returns (batch, outputHeight, outputWidth, channels)
 */
export function maxPool2d(
  x: tf.Tensor4D,
  { size = 2, strides = size, padding = 'valid' }: MaxPool2dOptions = {},
): tf.Tensor4D {
  assertShape('maxPool2d: x', x, ['batch', 'height', 'width', 'channels']);
  const heap = wasmHeap();
  if (!heap) return tf.maxPool(x, size, strides, padding);
  const pool = tf.customGrad((...parameters) => {
    const [x, save] = parameters as [tf.Tensor4D, tf.GradSaveFunc];
    save([x]);
    const info = tf.backend_util.computePool2DInfo(x.shape, size, strides, 1, padding);
    const output = heap.allocate(info.outShape);
    overImages(heap, info, x, undefined, output);
    return {
      value: output,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x] = saved as [tf.Tensor4D];
        const dx = heap.zeros(x.shape);
        overImages(heap, info, x, dy, dx);
        return dx;
      },
    };
  });
  return pool(x) as tf.Tensor4D;
}

type Pool2dInfo = ReturnType<typeof tf.backend_util.computePool2DInfo>;

function overImages(
  heap: Heap,
  info: Pool2dInfo,
  x: tf.Tensor,
  dy: tf.Tensor | undefined,
  output: tf.Tensor,
) {
  const { batchSize, inHeight, inWidth, inChannels, outHeight, outWidth, padInfo } = info;
  const imageBytes = (tensor: tf.Tensor) => (4 * tensor.size) / batchSize;
  for (let image = 0; image < batchSize; image++) {
    heap.call(
      'maxPool',
      heap.address(x) + image * imageBytes(x),
      dy ? heap.address(dy) + image * imageBytes(dy) : 0,
      heap.address(output) + image * imageBytes(output),
      inHeight,
      inWidth,
      4 * inChannels,
      outHeight,
      outWidth,
      info.filterHeight,
      info.strideHeight,
      padInfo.top,
      padInfo.left,
    );
  }
}
