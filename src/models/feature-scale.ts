// Features of any model have any scale, and the steps of Adam have one of their own: a head is trained on standardised
// features, of mean 0 and deviation 1, and what was trained is written as a head on the features as they are.

/** Means and deviations of features. */
export interface FeatureScale {
  /** (width). */
  readonly mean: Float32Array;
  readonly deviation: Float32Array;
}

/** Rows of features, (rows, width) in one array. */
interface FeatureRows {
  readonly features: Float32Array;
  readonly width: number;
}

/** A dense layer. */
export interface Layer {
  /** (width, outputs). */
  readonly weights: Float32Array;
  /** (outputs). */
  readonly bias: Float32Array;
}

const leastVariance = 1e-12; // of a feature that is not constant

/**
 * Adds up rows of features until their scale is asked for; a feature that is constant has a deviation of 1.
 *
 * The sums are of differences to the first row, so that a mean far from 0 costs no digits.
 */
export function createFeatureScale(width: number): {
  add(features: Float32Array): void;
  finish(): FeatureScale;
} {
  const origin = new Float64Array(width);
  const sum = new Float64Array(width);
  const square = new Float64Array(width);
  let rows = 0;
  return {
    add(features) {
      if (rows === 0) origin.set(features.subarray(0, width));
      for (let start = 0; start < features.length; start += width, rows++) {
        for (let feature = 0; feature < width; feature++) {
          const difference = features[start + feature] - origin[feature];
          sum[feature] += difference;
          square[feature] += difference * difference;
        }
      }
    },
    finish() {
      const count = Math.max(1, rows);
      const offset = sum.map((value) => value / count);
      const variance = square.map((value, feature) => value / count - offset[feature] ** 2);
      return {
        mean: Float32Array.from(offset, (value, feature) => origin[feature] + value),
        deviation: Float32Array.from(variance, (value) => (value > leastVariance ? Math.sqrt(value) : 1)),
      };
    },
  };
}

/** The scale of some features. */
export function scaleOf({ features, width }: FeatureRows): FeatureScale {
  const scale = createFeatureScale(width);
  scale.add(features);
  return scale.finish();
}

/** `(x - mean) / deviation`, in place. */
export function standardise({ features, width }: FeatureRows, { mean, deviation }: FeatureScale): void {
  for (let start = 0; start < features.length; start += width)
    for (let feature = 0; feature < width; feature++)
      features[start + feature] = (features[start + feature] - mean[feature]) / deviation[feature];
}

/** The layer that gives standardised features what the old one gave the features: `W' = d W, b' = b + m W`. */
export function standardisedLayer<Old extends Layer>(layer: Old, { mean, deviation }: FeatureScale): Old {
  return rescaled(layer, deviation, mean);
}

/** The layer that gives features as they are what one on standardised features gives: `W = W' / d, b = b' - m / d W'`. */
export function plainLayer<Old extends Layer>(layer: Old, { mean, deviation }: FeatureScale): Old {
  return rescaled(
    layer,
    Float64Array.from(deviation, (value) => 1 / value),
    Float64Array.from(mean, (value, feature) => -value / deviation[feature]),
  );
}

/** The layer that gives x what another gives `factor x + offset`; what it takes beside x stays. */
function rescaled<Old extends Layer>(
  layer: Old,
  factor: Float32Array | Float64Array,
  offset: Float32Array | Float64Array,
): Old {
  const outputs = layer.bias.length;
  const weights = layer.weights.slice();
  const bias = Float64Array.from(layer.bias);
  for (let feature = 0; feature < factor.length; feature++)
    for (let output = 0; output < outputs; output++) {
      const at = feature * outputs + output;
      weights[at] = factor[feature] * layer.weights[at];
      bias[output] += offset[feature] * layer.weights[at];
    }
  return { ...layer, weights, bias: Float32Array.from(bias) };
}
