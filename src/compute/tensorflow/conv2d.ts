import * as tf from '@tensorflow/tfjs';
import { float32, int, type NativeOperations, string } from './native-operations.js';

/** A convolution and its gradients by TensorFlow's Conv2D, Conv2DBackpropInput and Conv2DBackpropFilter. */
export function conv2dNative(
  native: NativeOperations,
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  { strides, padding, inputGradient }: { strides: number; padding: 'same' | 'valid'; inputGradient: boolean },
): tf.Tensor4D {
  const attributes = [
    float32,
    int('strides', [1, strides, strides, 1]),
    string('padding', padding.toUpperCase()),
    string('data_format', 'NHWC'),
    int('dilations', [1, 1, 1, 1]),
  ];
  const shapeOf = (tensor: tf.Tensor) => tf.tensor1d(tensor.shape, 'int32');
  const layer = tf.customGrad((...parameters) => {
    const [x, filter, save] = parameters as [tf.Tensor4D, tf.Tensor4D, tf.GradSaveFunc];
    save([x, filter]);
    return {
      value: native.one('Conv2D', attributes, [x, filter]),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, filter] = saved as [tf.Tensor4D, tf.Tensor4D];
        const dx = inputGradient
          ? native.one('Conv2DBackpropInput', attributes, [shapeOf(x), filter, dy])
          : tf.zerosLike(x);
        return [dx, native.one('Conv2DBackpropFilter', attributes, [x, shapeOf(filter), dy])];
      },
    };
  });
  return layer(x, filter) as tf.Tensor4D;
}
