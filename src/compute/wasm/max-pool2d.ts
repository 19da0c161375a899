import * as tf from '@tensorflow/tfjs';
import type { Kernels } from '../tensorflow-js/kernels.js';
import type { Heap } from './heap.js';

/** Max pooling in one pass over the input, and its gradient in another. */
export const maxPool2dOn =
  (heap: Heap): Kernels['maxPool2d'] =>
  (x, { size, strides, padding }) => {
    const layer = tf.customGrad((...parameters) => {
      const [x, save] = parameters as [tf.Tensor4D, tf.GradSaveFunc];
      save([x]);
      const info = tf.backend_util.computePool2DInfo(x.shape, size, strides, 1, padding);
      const output = heap.allocate(info.outShape);
      pool(heap, info, x, undefined, output);
      return {
        value: output,
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [x] = saved as [tf.Tensor4D];
          const isCovered = pairs(info) && x.size === 4 * dy.size; // then every value gets written
          const dx = isCovered ? heap.allocate(x.shape) : heap.zeros(x.shape);
          pool(heap, info, x, dy, dx);
          return dx;
        },
      };
    });
    return layer(x) as tf.Tensor4D;
  };

type Pool2dInfo = ReturnType<typeof tf.backend_util.computePool2DInfo>;

/** Whether the windows are pairs of pixels in both directions, side by side, none of them beyond the image. */
function pairs({ filterHeight, strideHeight, inHeight, inWidth, outHeight, outWidth }: Pool2dInfo): boolean {
  return filterHeight === 2 && strideHeight === 2 && 2 * outHeight <= inHeight && 2 * outWidth <= inWidth;
}

/** Writes the largest values to `output`, or adds `dy` to an `output` of zeros where they lie in x. */
function pool(
  heap: Heap,
  info: Pool2dInfo,
  x: tf.Tensor,
  dy: tf.Tensor | undefined,
  output: tf.Tensor,
): void {
  const { batchSize, inHeight, inWidth, inChannels, outHeight, outWidth, padInfo } = info;
  if (pairs(info)) {
    heap.call(
      'maxPoolPairs',
      heap.address(x),
      dy ? heap.address(dy) : 0,
      heap.address(output),
      batchSize,
      inHeight,
      inWidth,
      4 * inChannels,
      outHeight,
      outWidth,
    );
    return;
  }
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
