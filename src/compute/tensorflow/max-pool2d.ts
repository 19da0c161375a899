import * as tf from '@tensorflow/tfjs';
import { float32, int, type NativeOperations, string } from './native-operations.js';

/** Max pooling and its gradient by TensorFlow's MaxPool and MaxPoolGrad. */
export function maxPool2dNative(
  native: NativeOperations,
  x: tf.Tensor4D,
  { size, strides, padding }: { size: number; strides: number; padding: 'same' | 'valid' },
): tf.Tensor4D {
  const attributes = [
    float32,
    int('ksize', [1, size, size, 1]),
    int('strides', [1, strides, strides, 1]),
    string('padding', padding.toUpperCase()),
    string('data_format', 'NHWC'),
  ];
  const layer = tf.customGrad((...parameters) => {
    const [x, save] = parameters as [tf.Tensor4D, tf.GradSaveFunc];
    const output = native.one('MaxPool', attributes, [x]);
    save([x, output]);
    return {
      value: output,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, output] = saved as [tf.Tensor4D, tf.Tensor4D];
        return native.one('MaxPoolGrad', attributes, [x, output, dy]);
      },
    };
  });
  return layer(x) as tf.Tensor4D;
}
