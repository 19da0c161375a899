import * as tf from '@tensorflow/tfjs';
import type { Activation } from '../operations.js';
import type { Kernels } from '../tensorflow-js/kernels.js';
import { bool, float, float32, type NativeOperations, string, types } from './native-operations.js';

const attributesOf = (epsilon: number, isTraining: boolean) => [
  float32,
  types('U', 'float32'),
  float('epsilon', epsilon),
  string('data_format', 'NHWC'),
  bool('is_training', isTraining),
];

/** Batch normalisation in training by TensorFlow's FusedBatchNormV3 and its gradient. */
export const batchNormaliseBy =
  (native: NativeOperations): Kernels['batchNormalise'] =>
  (x, { scale: gamma, bias: beta }, { epsilon, activation }) => {
    const attributes = attributesOf(epsilon, true);
    const rows = x.size / gamma.size;
    const batch: { mean?: tf.Tensor1D; variance?: tf.Tensor1D } = {};
    const layer = tf.customGrad((...parameters) => {
      const [x, gamma, beta, save] = parameters as [tf.Tensor, tf.Tensor1D, tf.Tensor1D, tf.GradSaveFunc];
      const none = tf.tensor1d([]);
      const [normalised, mean, unbiased, ...reserved] = native.run(
        'FusedBatchNormV3',
        [...attributes, float('exponential_avg_factor', 1)],
        [asImages(x), gamma, beta, none, none],
        6,
      ) as [tf.Tensor, tf.Tensor1D, tf.Tensor1D, ...tf.Tensor[]];
      batch.mean = tf.keep(mean);
      // TensorFlow divides by rows - 1, for a running variance.
      batch.variance = tf.keep(tf.mul(unbiased, Math.max(rows - 1, 1) / rows));
      const value = activate(native, tf.reshape(normalised, x.shape), activation);
      save([x, gamma, value, ...reserved]);
      return {
        value,
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [x, gamma, value, ...reserved] = saved as [tf.Tensor, tf.Tensor1D, tf.Tensor, ...tf.Tensor[]];
          const upstream = throughActivation(native, dy, value, activation);
          const [dx, dGamma, dBeta] = gradients(native, attributes, upstream, x, gamma, reserved);
          return [dx, dGamma, dBeta];
        },
      };
    });
    const output = layer(x, gamma, beta);
    // What is made inside a custom gradient outlives its scope by `keep`; a clone belongs to the caller's.
    const [mean, variance] = [batch.mean, batch.variance].map((kept) => {
      const tensor = tf.clone(kept as tf.Tensor1D);
      kept?.dispose();
      return tensor;
    }) as [tf.Tensor1D, tf.Tensor1D];
    return { output, mean, variance };
  };

/** Batch normalisation with given statistics, by the same operation. */
export const normaliseBy =
  (native: NativeOperations): Kernels['normalise'] =>
  (x, { scale, bias, mean, variance }, { epsilon, activation }) => {
    const attributes = attributesOf(epsilon, false);
    const layer = tf.customGrad((...parameters) => {
      const [x, mean, variance, gamma, beta, save] = parameters as [
        tf.Tensor,
        ...[tf.Tensor1D, tf.Tensor1D, tf.Tensor1D, tf.Tensor1D],
        tf.GradSaveFunc,
      ];
      const [normalised] = native.run(
        'FusedBatchNormV3',
        [...attributes, float('exponential_avg_factor', 1)],
        [asImages(x), gamma, beta, mean, variance],
        6,
      ) as [tf.Tensor];
      const value = activate(native, tf.reshape(normalised, x.shape), activation);
      save([x, mean, variance, gamma, value]);
      return {
        value,
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
          const [x, mean, variance, gamma, value] = saved as [
            tf.Tensor,
            ...[tf.Tensor1D, tf.Tensor1D, tf.Tensor1D],
            tf.Tensor,
          ];
          const upstream = throughActivation(native, dy, value, activation);
          const reserved = [mean, variance, tf.tensor1d([])];
          const [dx, dGamma, dBeta] = gradients(native, attributes, upstream, x, gamma, reserved);
          const inverse = tf.rsqrt(tf.add(variance, epsilon)); // (channels)
          const dVariance = tf.mul(tf.mul(dGamma, gamma), tf.mul(tf.square(inverse), -0.5));
          return [dx, tf.neg(tf.mul(dBeta, tf.mul(gamma, inverse))), dVariance, dGamma, dBeta];
        },
      };
    });
    return layer(x, mean, variance, scale, bias);
  };

/** The gradients by x, gamma and beta. */
function gradients(
  native: NativeOperations,
  attributes: ReturnType<typeof attributesOf>,
  dy: tf.Tensor,
  x: tf.Tensor,
  gamma: tf.Tensor1D,
  reserved: readonly tf.Tensor[],
): [tf.Tensor, tf.Tensor1D, tf.Tensor1D] {
  const inputs = [asImages(dy), asImages(x), gamma, ...reserved];
  const [dx, dGamma, dBeta] = native.run('FusedBatchNormGradV3', attributes, inputs, 5) as [
    tf.Tensor,
    tf.Tensor1D,
    tf.Tensor1D,
  ];
  return [tf.reshape(dx, x.shape), dGamma, dBeta];
}

/** (..., channels) as (rows, 1, 1, channels), which the operation takes. */
function asImages(x: tf.Tensor): tf.Tensor4D {
  if (x.rank === 4) return x as tf.Tensor4D;
  const channels = x.shape.at(-1) ?? 1;
  return tf.reshape(x, [x.size / channels, 1, 1, channels]);
}

function activate(native: NativeOperations, x: tf.Tensor, activation: Activation): tf.Tensor {
  return activation === 'relu' ? native.one('Relu', [float32], [x]) : x;
}

function throughActivation(
  native: NativeOperations,
  dy: tf.Tensor,
  value: tf.Tensor,
  activation: Activation,
): tf.Tensor {
  return activation === 'relu' ? native.one('ReluGrad', [float32], [dy, value]) : dy;
}
