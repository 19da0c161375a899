import * as tf from '@tensorflow/tfjs';

/**
 * The rows of a matrix at the given indices; the gradient adds the rows up where an index repeats.
 *
 * @param matrix (rows, columns)
 * @param indices (count), int32, each in [0, rows)
 * @returns (count, columns)
 */
export function gatherRows(matrix: tf.Tensor2D, indices: tf.Tensor1D): tf.Tensor2D {
  const gather = tf.customGrad((...parameters) => {
    const [matrix, save] = parameters as [tf.Tensor2D, tf.GradSaveFunc];
    const [rows] = matrix.shape;
    save([indices]);
    return {
      value: tf.gather(matrix, indices),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [indices] = saved as [tf.Tensor1D];
        const spread = tf.transpose(tf.oneHot(indices, Math.max(2, rows)) as tf.Tensor2D); // (rows, count)
        return tf.slice(tf.matMul(tf.cast(spread, 'float32'), dy as tf.Tensor2D), [0, 0], [rows, -1]);
      },
    };
  });
  return gather(matrix) as tf.Tensor2D;
}
