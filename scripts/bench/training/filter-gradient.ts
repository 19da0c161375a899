import * as tf from '@tensorflow/tfjs';

/** The kernel that TensorFlow.js's wasm backend lacks, as anybody would first compose it. */
export function supplyFilterGradient(): void {
  tf.registerKernel({
    kernelName: 'Conv2DBackpropFilter',
    backendName: 'wasm',
    kernelFunc: ({ inputs, attrs }) => {
      const { x, dy } = inputs as unknown as { x: tf.Tensor4D; dy: tf.Tensor4D };
      const { strides, pad, filterShape } = attrs as unknown as {
        strides: [number, number];
        pad: 'same' | 'valid';
        filterShape: [number, number, number, number];
      };
      return tf.tidy(() => {
        const [input, upstream] = [x, dy].map((info) =>
          tf.engine().makeTensorFromDataId(info.dataId, info.shape, 'float32'),
        );
        if (!input || !upstream) throw new Error('no inputs');
        const { padInfo } = tf.backend_util.computeConv2DInfo(x.shape, filterShape, strides, 1, pad);
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
