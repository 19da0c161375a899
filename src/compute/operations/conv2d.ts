import * as tf from '@tensorflow/tfjs';

export interface Conv2dOptions {
  /** Step between windows in both directions, 1 or more. */
  readonly strides?: number;
  readonly padding?: 'same' | 'valid';
  /** Whether the gradient flows on into the input; a first layer saves its cost with `false`. */
  readonly inputGradient?: boolean;
}

/**
 * A two-dimensional convolution without bias (cross-correlation, as everywhere in the field).
 *
 * The gradient of the filter is the convolution of the input, channels as batch, with the gradient of the
 * output, strides as dilations. The gradient of the input is the convolution of the dilated and padded
 * gradient of the output with the filter turned by 180 degrees, its channels exchanged.
 *
 * @param x (batch, height, width, inputs)
 * @param filter (filterHeight, filterWidth, inputs, outputs)
 * @returns (batch, outputHeight, outputWidth, outputs)
 */
export function conv2d(
  x: tf.Tensor4D,
  filter: tf.Tensor4D,
  { strides = 1, padding = 'same', inputGradient = true }: Conv2dOptions = {},
): tf.Tensor4D {
  const layer = tf.customGrad((...parameters) => {
    const [x, filter, save] = parameters as [tf.Tensor4D, tf.Tensor4D, tf.GradSaveFunc];
    save([x, filter]);
    const info = tf.backend_util.computeConv2DInfo(x.shape, filter.shape, strides, 1, padding);
    return {
      value: tf.conv2d(x, filter, strides, explicitPadding(info)),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [x, filter] = saved as [tf.Tensor4D, tf.Tensor4D];
        const dx = inputGradient ? gradientOfInput(dy as tf.Tensor4D, filter, info) : tf.zerosLike(x);
        return [dx, gradientOfFilter(x, dy as tf.Tensor4D, info)];
      },
    };
  });
  return layer(x, filter) as tf.Tensor4D;
}

type Conv2dInfo = ReturnType<typeof tf.backend_util.computeConv2DInfo>;

/** Padding by numbers: with 'same', strides and a small filter wasm pads on another side than the others do. */
function explicitPadding({ padInfo }: Conv2dInfo): tf.backend_util.ExplicitPadding {
  return [
    [0, 0],
    [padInfo.top, padInfo.bottom],
    [padInfo.left, padInfo.right],
    [0, 0],
  ];
}

function gradientOfFilter(x: tf.Tensor4D, dy: tf.Tensor4D, info: Conv2dInfo): tf.Tensor4D {
  const { padInfo, inHeight, inWidth, filterHeight, filterWidth, strideHeight } = info;
  // What the last window leaves over at the lower and right edge takes no part.
  const height = (info.outHeight - 1) * strideHeight + filterHeight;
  const width = (info.outWidth - 1) * strideHeight + filterWidth;
  const bottom = Math.max(0, height - inHeight - padInfo.top);
  const right = Math.max(0, width - inWidth - padInfo.left);
  const whole = tf.pad(x, [
    [0, 0],
    [padInfo.top, bottom],
    [padInfo.left, right],
    [0, 0],
  ]);
  const padded = tf.slice(whole, [0, 0, 0, 0], [-1, height, width, -1]);
  const images = tf.transpose(padded, [3, 1, 2, 0]) as tf.Tensor4D; // (inputs, height, width, batch)
  const kernel = tf.transpose(dy, [1, 2, 0, 3]) as tf.Tensor4D; // (outputHeight, outputWidth, batch, outputs)
  const gradient = tf.conv2d(images, kernel, 1, 'valid', 'NHWC', strideHeight); // (inputs, fh, fw, outputs)
  return tf.transpose(gradient, [1, 2, 0, 3]);
}

function gradientOfInput(dy: tf.Tensor4D, filter: tf.Tensor4D, info: Conv2dInfo): tf.Tensor4D {
  const { padInfo, filterHeight, filterWidth, strideHeight, inHeight, inWidth } = info;
  const dilated = strideHeight === 1 ? dy : dilate(dy, strideHeight);
  const [, height, width] = dilated.shape;
  const top = filterHeight - 1 - padInfo.top;
  const left = filterWidth - 1 - padInfo.left;
  const bottom = inHeight + filterHeight - 1 - top - height;
  const right = inWidth + filterWidth - 1 - left - width;
  const whole = tf.pad(dilated, [
    [0, 0],
    [Math.max(0, top), Math.max(0, bottom)],
    [Math.max(0, left), Math.max(0, right)],
    [0, 0],
  ]) as tf.Tensor4D;
  const padded = tf.slice(
    whole,
    [0, Math.max(0, -top), Math.max(0, -left), 0],
    [-1, inHeight + filterHeight - 1, inWidth + filterWidth - 1, -1],
  );
  const turned = tf.transpose(tf.reverse(filter, [0, 1]), [0, 1, 3, 2]) as tf.Tensor4D;
  return tf.conv2d(padded, turned, 1, 'valid');
}

/** Puts `strides - 1` rows and columns of zeros after each one: (batch, h, w, c) to (batch, h s, w s, c). */
function dilate(dy: tf.Tensor4D, strides: number): tf.Tensor4D {
  const [batch, height, width, channels] = dy.shape;
  const apart = tf.reshape(dy, [batch * height, 1, width, channels]);
  const columns = tf.reshape(apart, [batch * height * width, 1, 1, channels]);
  const spread = tf.pad(columns, [
    [0, 0],
    [0, strides - 1],
    [0, strides - 1],
    [0, 0],
  ]); // (b h w, s, s, c)
  const grid = tf.reshape(spread, [batch * height, width, strides, strides * channels]);
  const rows = tf.transpose(grid, [0, 2, 1, 3]); // (b h, s, w, s c)
  return tf.reshape(rows, [batch, height * strides, width * strides, channels]);
}
