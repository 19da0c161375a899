import * as tf from '@tensorflow/tfjs';

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
 * @param x (batch, height, width, channels)
 * @returns (batch, outputHeight, outputWidth, channels)
 */
export function maxPool2d(
  x: tf.Tensor4D,
  { size = 2, strides = size, padding = 'valid' }: MaxPool2dOptions = {},
): tf.Tensor4D {
  if (size === 1 && strides === 1) return tf.clone(x);
  return tf.maxPool(x, size, strides, padding);
}
