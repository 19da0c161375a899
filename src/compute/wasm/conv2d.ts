import * as tf from '@tensorflow/tfjs';
import type { Kernels } from '../tensorflow-js/kernels.js';
import type { Heap } from './heap.js';
import { type MatrixView, multiply, rowMajor, transposed } from './product.js';

/**
 * A convolution by matrix products.
 *
 * Every window of the input is unfolded into a row, so that `output = patches F`, `dF = patches' dy` and
 * `dx = fold(dy F')`, where `F` is the filter as a matrix (filterHeight filterWidth inputs, outputs).
 *
 * @see Chellapilla, Puri and Simard, High Performance Convolutional Neural Networks for Document Processing, 2006
 */
export const conv2dOn =
  (heap: Heap): Kernels['conv2d'] =>
  (x, filter, { strides, padding, inputGradient }) => {
    const info = tf.backend_util.computeConv2DInfo(x.shape, filter.shape, strides, 1, padding);
    const layer = tf.customGrad((...parameters) => {
      const [x, filter, save] = parameters as [tf.Tensor4D, tf.Tensor4D, tf.GradSaveFunc];
      save([x, filter]);
      return {
        value: convolve(heap, info, x, filter),
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [x, filter] = saved as [tf.Tensor4D, tf.Tensor4D];
          const dx = inputGradient ? gradientOfInput(heap, info, dy, filter) : heap.zeros(x.shape);
          return [dx, gradientOfFilter(heap, info, x, dy)];
        },
      };
    });
    return layer(x, filter) as tf.Tensor4D;
  };

type Conv2dInfo = ReturnType<typeof tf.backend_util.computeConv2DInfo>;

function convolve(heap: Heap, info: Conv2dInfo, x: tf.Tensor, filter: tf.Tensor): tf.Tensor {
  const output = heap.allocate(info.outShape);
  overChunks(heap, info, (chunk) => {
    moveWindows(heap, 'unfold', info, x, chunk);
    const rows = outputRows(heap, info, output, chunk);
    multiply(heap, chunk.patches, filterMatrix(heap, info, filter), rows, { add: false });
  });
  return output;
}

function gradientOfFilter(heap: Heap, info: Conv2dInfo, x: tf.Tensor, dy: tf.Tensor): tf.Tensor {
  const gradient = heap.zeros(filterShape(info));
  overChunks(heap, info, (chunk) => {
    moveWindows(heap, 'unfold', info, x, chunk);
    const upstream = outputRows(heap, info, dy, chunk);
    multiply(heap, transposed(chunk.patches), upstream, filterMatrix(heap, info, gradient), { add: true });
  });
  return gradient;
}

function gradientOfInput(heap: Heap, info: Conv2dInfo, dy: tf.Tensor, filter: tf.Tensor): tf.Tensor {
  const gradient = heap.zeros(info.inShape);
  overChunks(heap, info, (chunk) => {
    const upstream = outputRows(heap, info, dy, chunk);
    multiply(heap, upstream, transposed(filterMatrix(heap, info, filter)), chunk.patches, { add: false });
    moveWindows(heap, 'fold', info, gradient, chunk);
  });
  return gradient;
}

/** Some images and room for their windows, one window a row. */
interface Chunk {
  readonly firstImage: number;
  readonly images: number;
  readonly patches: MatrixView;
}

/** Patches that exist at a time: about what the second-level cache holds. */
const chunkBytes = 1 << 20;

function overChunks(heap: Heap, info: Conv2dInfo, visit: (chunk: Chunk) => void): void {
  const windows = info.outHeight * info.outWidth;
  const columns = info.filterHeight * info.filterWidth * info.inChannels;
  const most = Math.max(1, Math.min(info.batchSize, Math.floor(chunkBytes / (4 * windows * columns))));
  const room = heap.allocate([most * windows * columns + 4]); // `unfold` writes up to 12 bytes too much
  for (let firstImage = 0; firstImage < info.batchSize; firstImage += most) {
    const images = Math.min(most, info.batchSize - firstImage);
    visit({ firstImage, images, patches: rowMajor(heap.address(room), images * windows, columns) });
  }
  room.dispose();
}

/** Copies the windows of a chunk's images into its patches, or adds the patches to the images. */
function moveWindows(
  heap: Heap,
  direction: 'unfold' | 'fold',
  info: Conv2dInfo,
  x: tf.Tensor,
  { firstImage, images, patches }: Chunk,
): void {
  const { inHeight, inWidth, inChannels, outHeight, outWidth, padInfo } = info;
  const imageBytes = 4 * inHeight * inWidth * inChannels;
  for (let image = 0; image < images; image++) {
    heap.call(
      direction,
      heap.address(x) + (firstImage + image) * imageBytes,
      patches.address + image * outHeight * outWidth * patches.rowStride,
      inHeight,
      inWidth,
      4 * inChannels,
      outHeight,
      outWidth,
      info.filterHeight,
      info.filterWidth,
      info.strideHeight,
      padInfo.top,
      padInfo.left,
    );
  }
}

const filterShape = ({ filterHeight, filterWidth, inChannels, outChannels }: Conv2dInfo) => [
  filterHeight,
  filterWidth,
  inChannels,
  outChannels,
];

/** The filter as (filterHeight filterWidth inputs, outputs). */
function filterMatrix(heap: Heap, info: Conv2dInfo, filter: tf.Tensor): MatrixView {
  const rows = info.filterHeight * info.filterWidth * info.inChannels;
  return rowMajor(heap.address(filter), rows, info.outChannels);
}

/** The part of the output, or of its gradient, that belongs to a chunk: (windows, outputs). */
function outputRows(heap: Heap, info: Conv2dInfo, output: tf.Tensor, chunk: Chunk): MatrixView {
  const before = chunk.firstImage * info.outHeight * info.outWidth;
  const address = heap.address(output) + 4 * before * info.outChannels;
  return rowMajor(address, chunk.patches.rows, info.outChannels);
}
