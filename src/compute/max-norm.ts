import * as tf from '@tensorflow/tfjs';

/**
 * Scales the incoming weights of each unit down to a largest length, in place.
 *
 * `w_j = w_j min(1, maximum / ||w_j||)` for every column j.
 *
 * @param weights (inputs, units)
 * @param maximum above 0
 * Cost: two passes over the weights.
 * @see Srivastava et al., Dropout, JMLR 15, 2014, section 5.1
 */
export function limitColumnNorms(weights: tf.Variable<tf.Rank.R2>, maximum: number): void {
  tf.tidy(() => {
    const norms = tf.sqrt(tf.sum(tf.square(weights), 0, true)); // (1, units)
    const scale = tf.minimum(1, tf.div(maximum, tf.maximum(norms, 1e-12)));
    weights.assign(tf.mul<tf.Tensor2D>(weights, scale));
  });
}
