import { beforeAll, expect, test } from 'vitest';
import { selectBackend } from '../../compute/backend.js';
import type { Operations } from '../../compute/operations.js';
import { createRandom } from '../../core/random.js';
import { softmax } from '../../math/softmax.js';
import { scaleOf, standardise, standardisedLayer } from '../../models/feature-scale.js';
import {
  classesInPlay,
  type FeatureSet,
  fitHead,
  type Head,
  type HeadContext,
} from '../../training/heads/fit-head.js';
import { generalistRivals, trainRivals } from './head-rivals.js';
import { neighboursRival } from './neighbours.js';
import { correct, predictions } from './rival.js';
import { scoreSet } from './scored-set.js';

let operations: Operations;
beforeAll(async () => {
  ({ operations } = await selectBackend('wasm'));
});

const width = 3;
const classes = 6;

/** Points around a corner for each class, of the classes below `most`. */
function points(name: string, rows: number, most = classes): FeatureSet {
  const random = createRandom('rivals', name);
  const features = new Float32Array(rows * width);
  const labels = Int32Array.from({ length: rows }, (_, row) => row % most);
  for (let row = 0; row < rows; row++)
    for (let feature = 0; feature < width; feature++) {
      const corner = (labels[row] + 1) & (1 << feature) ? 1 : -1;
      features[row * width + feature] = corner + 0.6 * random.normal();
    }
  return { features, labels, rows, width };
}

function randomHead(): Head {
  const random = createRandom('rivals', 'head');
  const weights = Float32Array.from({ length: width * classes }, (_, at) => {
    const corner = ((at % classes) + 1) & (1 << Math.floor(at / classes)) ? 1 : -1;
    return 0.5 * corner + 0.5 * random.normal();
  });
  return { width, classes, weights, bias: Float32Array.from({ length: classes }, () => random.normal()) };
}

function contextOf(changes: Partial<HeadContext> = {}): HeadContext {
  const train = points('train', 512, 4);
  return {
    operations,
    head: randomHead(),
    train,
    validation: points('validation', 256, 4),
    imagesPerEpoch: train.rows,
    isPictured: Uint8Array.of(1, 1, 1, 1, 0, 0),
    inPlay: Int32Array.of(0, 1, 2, 3, 4, 5),
    epochs: 6,
    seed: 1,
    signal: new AbortController().signal,
    ...changes,
  };
}

function logitsOf({ weights, bias }: Head, { features }: FeatureSet, row: number): Float64Array {
  return Float64Array.from(bias, (value, c) => {
    let sum = value;
    for (let feature = 0; feature < width; feature++)
      sum += features[row * width + feature] * weights[feature * classes + c];
    return sum;
  });
}

test('on standardised features the standardised head has the same logits', () => {
  const set = points('scaled', 40);
  set.features.forEach((value, at) => {
    set.features[at] = at % width === 1 ? 7 : 100 * value + 30;
  });
  const head = randomHead();
  const expected = logitsOf(head, set, 5);
  const scale = scaleOf(set);
  standardise(set, scale);
  for (let feature = 0; feature < width; feature += 2) {
    const column = Array.from({ length: set.rows }, (_, row) => set.features[row * width + feature]);
    expect(column.reduce((sum, value) => sum + value) / set.rows).toBeCloseTo(0, 5);
    expect(column.reduce((sum, value) => sum + value ** 2, 0) / set.rows).toBeCloseTo(1, 4);
  }
  const found = logitsOf(standardisedLayer(head, scale), set, 5);
  for (let c = 0; c < classes; c++) expect(Math.abs(found[c] - expected[c])).toBeLessThan(1e-3);
});

test('the generalist predicts what its head does, and a prior tells of the classes with images alone', async () => {
  const context = contextOf();
  const { plain, prior } = generalistRivals(context);
  const [leaders] = await plain.leaders(await scoreSet(context, context.validation), [{}]);
  const own = Int32Array.from({ length: context.validation.rows }, (_, row) => {
    const logits = logitsOf(context.head, context.validation, row);
    return logits.indexOf(Math.max(...logits));
  });
  expect(predictions(leaders, 0)).toEqual(own);
  expect(Math.max(...predictions(leaders, Number.POSITIVE_INFINITY))).toBeLessThan(4);
  expect(prior.shifts.length).toBeGreaterThan(10);
});

test('fitted biases reach the optimum: each class is predicted as often as it occurs', async () => {
  const context = contextOf({ epochs: 60 });
  const { train, head } = context;
  // The optimum is judged where it is fitted, without early stopping on other images.
  const fitted = { ...context, validation: train };
  const bias = operations.variable(head.bias, [classes] as const);
  const weights = operations.tensor(head.weights, [width, classes] as const);
  const fit = await fitHead(
    { variables: [bias], rate: 0.05, flops: 1, logits: (x) => operations.dense(x, weights, bias) },
    fitted,
  );
  const found = { ...head, bias: await operations.read(bias) };
  const predicted = new Float64Array(classes);
  for (let row = 0; row < train.rows; row++) {
    const p = softmax(Float32Array.from(logitsOf(found, train, row)));
    for (let c = 0; c < classes; c++) predicted[c] += p[c] / train.rows;
  }
  expect(fit.loss).toBeLessThan(fit.firstLoss);
  for (let c = 0; c < 4; c++) expect(Math.abs(predicted[c] - 0.25)).toBeLessThan(0.02);
  operations.dispose([bias, weights]);
});

test.each(['bias', 'refitted', 'hidden', 'adapter'] as const)(
  '%s: training lowers the loss, and mixes from the generalist on',
  async (kind) => {
    const context = contextOf({ imagesPerEpoch: 2560 });
    const { rivals, fit, dispose } = await trainRivals(kind, context);
    expect(fit.loss).toBeLessThan(fit.firstLoss);
    const blended = rivals[rivals.length - 1];
    const validation = await scoreSet(context, context.validation);
    const [none, whole] = await blended.leaders(validation, [{ share: 0 }, { share: 1 }]);
    const [generalist] = await generalistRivals(context).plain.leaders(validation, [{}]);
    expect(predictions(none, 0)).toEqual(predictions(generalist, 0));
    const right = (of: typeof none) =>
      correct(predictions(of, 0), validation).reduce((sum, one) => sum + one, 0);
    expect(right(whole)).toBeGreaterThan(right(none));
    expect(rivals.map(({ name }) => name)).toEqual(
      kind === 'refitted' ? ['refitted', 'interpolated'] : [kind],
    );
    dispose();
  },
);

test('neighbours rank again as a slow version does', async () => {
  const context = contextOf();
  const { train, validation, head, isPictured } = context;
  const variants = [
    { neighbours: 8, share: 0.5 },
    { neighbours: 32, share: 0.95 },
  ];
  const found = await neighboursRival(context).leaders(await scoreSet(context, validation), variants);
  const rowOf = ({ features }: FeatureSet, row: number) => [
    ...features.subarray(row * width, (row + 1) * width),
  ];
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, at) => sum + x * b[at], 0);
  for (const [index, { neighbours, share }] of variants.entries()) {
    let agreeing = 0;
    for (let row = 0; row < validation.rows; row++) {
      const query = rowOf(validation, row);
      const nearest = Array.from({ length: train.rows }, (_, other) => {
        const key = rowOf(train, other);
        return {
          label: train.labels[other],
          cosine: dot(query, key) / Math.sqrt(dot(query, query) * dot(key, key)),
        };
      })
        .sort((a, b) => b.cosine - a.cosine)
        .slice(0, neighbours);
      const total = nearest.reduce((sum, { cosine }) => sum + Math.exp(20 * cosine), 0);
      const p = softmax(Float32Array.from(logitsOf(head, validation, row))); // fewer than ten classes: all are candidates
      const mixed = Array.from(p, (mass, c) => {
        const votes = nearest
          .filter(({ label }) => label === c)
          .reduce((sum, { cosine }) => sum + Math.exp(20 * cosine), 0);
        return (1 - share) * mass + (share * votes) / total;
      });
      agreeing += Number(mixed.indexOf(Math.max(...mixed)) === predictions(found[index], 0)[row]);
    }
    // Rounding may change which of two equally near neighbours is the last.
    expect(agreeing).toBeGreaterThanOrEqual(validation.rows - 2);
  }
  expect(isPictured.length).toBe(classes);
});

test('in play are the classes with images and the fewest others that hold nearly all mass', async () => {
  const head = randomHead();
  head.bias.set([0, 0, 0, 0, -1, -1]);
  const all = await classesInPlay(contextOf({ head }));
  expect([...all]).toEqual([0, 1, 2, 3, 4, 5]);
  head.bias[5] = -12;
  expect([...(await classesInPlay(contextOf({ head })))]).toEqual([0, 1, 2, 3, 4]);
  head.bias.set([-12, -12], 4);
  expect([...(await classesInPlay(contextOf({ head })))]).toEqual([0, 1, 2, 3]);
  // Whatever its mass, a class of which an image is judged has to have a logit.
  const validation = points('validation', 256, 6);
  expect([...(await classesInPlay(contextOf({ head, validation })))]).toEqual([0, 1, 2, 3, 4, 5]);
});

test.each(['bias', 'refitted', 'hidden', 'adapter'] as const)(
  '%s: trained without a class that nothing predicts, it predicts as if trained with it, and leaves the class alone',
  async (kind) => {
    const head = randomHead();
    head.bias[4] = -14;
    const context = contextOf({ head });
    const set = points('test', 300, 4);
    const leadersOf = async (inPlay: Int32Array) => {
      const { rivals, fit, dispose } = await trainRivals(kind, { ...context, inPlay });
      const last = rivals[rivals.length - 1];
      const [leaders] = await last.leaders(await scoreSet({ ...context, inPlay }, set), [{ share: 1 }]);
      const written = await last.head?.({ variant: { share: 1 }, shift: 0 });
      dispose();
      return { leaders, fit, written };
    };
    const whole = await leadersOf(Int32Array.of(0, 1, 2, 3, 4, 5));
    const part = await leadersOf(Int32Array.of(0, 1, 2, 3, 5));
    expect(part.fit.loss).toBeCloseTo(whole.fit.loss, 3);
    expect(part.leaders.inside).toEqual(whole.leaders.inside);
    const differences = part.leaders.margin.map((one, row) => Math.abs(one - whole.leaders.margin[row]));
    expect(Math.max(...differences)).toBeLessThan(0.05);
    if (kind === 'bias' || kind === 'refitted') {
      expect(part.written?.bias[4]).toBe(head.bias[4]);
      expect(part.written?.weights[4]).toBe(head.weights[4]);
      expect(part.written?.bias[5]).not.toBe(head.bias[5]);
    }
  },
);
