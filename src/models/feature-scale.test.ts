import { expect, test } from 'vitest';
import { createRandom } from '../core/random.js';
import { createFeatureScale, plainLayer, scaleOf, standardise, standardisedLayer } from './feature-scale.js';

const width = 4;
const outputs = 3;
const random = createRandom('feature scale');
const rows = 500;
/** Features of very different sizes, one of them far from 0 and one constant. */
const features = Float32Array.from(
  { length: rows * width },
  (_, at) => [1e-3 * random.normal(), 40 + 5 * random.normal(), 1e4 + random.normal(), 7][at % width],
);

test('features of any size have mean 0 and deviation 1 when they are standardised, and constant ones are 0', () => {
  const own = features.slice();
  standardise({ features: own, width }, scaleOf({ features, width }));
  for (let feature = 0; feature < width; feature++) {
    const column = Array.from({ length: rows }, (_, row) => own[row * width + feature]);
    const mean = column.reduce((sum, value) => sum + value, 0) / rows;
    expect(mean).toBeCloseTo(0, 2);
    const deviation = Math.sqrt(column.reduce((sum, value) => sum + (value - mean) ** 2, 0) / rows);
    expect(deviation).toBeCloseTo(feature === 3 ? 0 : 1, 2);
  }
});

test('parts that are added one after the other have the scale of the whole', () => {
  const parts = createFeatureScale(width);
  parts.add(features.subarray(0, 100 * width));
  parts.add(features.subarray(100 * width));
  expect(parts.finish()).toEqual(scaleOf({ features, width }));
});

test('a layer on standardised features gives what the layer gave, and there and back is the same layer', () => {
  const scale = scaleOf({ features, width });
  const layer = {
    weights: Float32Array.from({ length: width * outputs }, () => random.normal()),
    bias: Float32Array.from({ length: outputs }, () => random.normal()),
  };
  const own = features.subarray(0, width).slice();
  const logits = (x: Float32Array, { weights, bias }: typeof layer) =>
    Array.from(bias, (b, output) =>
      x.reduce((sum, value, feature) => sum + value * weights[feature * outputs + output], b),
    );
  const expected = logits(own, layer);
  const inner = standardisedLayer(layer, scale);
  standardise({ features: own, width }, scale);
  for (const [output, value] of logits(own, inner).entries())
    expect(Math.abs(value - expected[output])).toBeLessThan(1e-6 * 1e4);
  const back = plainLayer(inner, scale);
  for (const [at, value] of back.weights.entries()) expect(value).toBeCloseTo(layer.weights[at], 5);
});
