import * as tf from '@tensorflow/tfjs';

type Shape4D = [number, number, number, number];

/** The kernel that TensorFlow.js's wasm backend lacks, composed from the operations that it has. */
export function supplyFilterGradient(): void {
  tf.registerKernel({
    kernelName: 'Conv2DBackpropFilter',
    backendName: 'wasm',
    kernelFunc: ({ inputs: { x, dy }, attrs = {} }) => {
      if (!x || !dy) throw new Error('no inputs');
      const strides = attrs.strides as [number, number];
      const filterShape = attrs.filterShape as Shape4D;
      const pad = attrs.pad as 'same' | 'valid';
      return tf.tidy(() => {
        const [input, upstream] = [x, dy].map(({ dataId, shape }) =>
          tf.engine().makeTensorFromDataId(dataId, shape, 'float32'),
        );
        const shape = x.shape as Shape4D;
        const { padInfo } = tf.backend_util.computeConv2DInfo(shape, filterShape, strides, 1, pad);
        const { top, bottom, left, right } = padInfo;
        const gradient = tf.conv2d(
          tf.transpose(input, [3, 1, 2, 0]) as tf.Tensor4D,
          tf.transpose(upstream, [1, 2, 0, 3]) as tf.Tensor4D,
          1,
          [
            [0, 0],
            [top, bottom],
            [left, right],
            [0, 0],
          ],
          'NHWC',
          strides,
        );
        return tf.transpose(gradient, [1, 2, 0, 3]);
      });
    },
  });
}
