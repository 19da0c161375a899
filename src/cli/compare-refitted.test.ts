import { expect, test } from 'vitest';
import { softmax } from '../math/softmax.js';
import { compareNeighbours, expectEqual } from './compare-refitted.js';

const classes = 12;
const own = Float32Array.from({ length: classes }, (_, label) => (classes - label) / 4);
const sum = (values: readonly number[]) => values.reduce((all, one) => all + one, 0);

/** Of two images whose stored features are all equal, so that nothing tells which of them is the nearest. */
const compare = (written: Float32Array) => {
  const values: Readonly<Record<string, Float32Array>> = {
    before: Float32Array.of(...own, ...own),
    logits: Float32Array.of(...own, ...written),
    features: Float32Array.of(1, 0, 1, 0),
  };
  return compareNeighbours(
    async (name) => values[name],
    { features: 'features', width: 2 },
    {
      logits: 'logits',
      before: 'before',
      neighbours: {
        units: Float32Array.of(1, 1, 1, 0, 0, 0),
        labels: Int32Array.of(0, 1, 2),
        scale: { mean: Float32Array.of(0, 0), deviation: Float32Array.of(1, 1) },
        isPictured: new Uint8Array(classes).fill(1, 0, 3),
        neighbours: 1,
        share: 0.5,
        shift: 0,
        first: 10,
        sharpness: 20,
        blank: null,
      },
      images: 2,
      backend: 'wasm',
    },
  );
};

test('where nothing tells the neighbours apart, the first classes may change among themselves alone', async () => {
  const swapped = own.slice();
  [swapped[0], swapped[9]] = [own[9], own[0]];
  const kept = await compare(swapped);
  expectEqual(kept);
  expect(kept).toMatchObject({ images: 0, undecided: 2 });
  expect(kept.maxDifference).toBeLessThan(1e-6);

  const raised = own.slice();
  raised[0] += 5;
  const broken = await compare(raised);
  const ten = (logits: Float32Array) => sum([...softmax(logits)].slice(0, 10));
  expect(broken.maxDifference).toBeCloseTo(ten(raised) - ten(own), 6);
  expect(() => expectEqual(broken)).toThrow(/differs from what was measured/);

  const outside = own.slice();
  [outside[0], outside[11]] = [own[11], own[0]];
  expect((await compare(outside)).maxDifference).toBeGreaterThan(0.1);
});
