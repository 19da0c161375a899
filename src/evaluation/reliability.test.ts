import { expect, test } from 'vitest';
import { createRandom } from '../core/random.js';
import { createReliability } from './reliability.js';

const classes = 5;

/** Examples whose labels are drawn from a distribution, shown to the predictor at another temperature. */
function measure(temperature: number, examples = 6000) {
  const random = createRandom(1, 'reliability');
  const reliability = createReliability();
  const seen: { readonly label: number; readonly shown: Float32Array }[] = [];
  for (let example = 0; example < examples; example++) {
    const logits = Float32Array.from({ length: classes }, () => 2 * random.normal());
    const truth = softmaxAt(logits, 1);
    let [left, label] = [random.uniform(), 0];
    while (label < classes - 1 && left >= truth[label]) left -= truth[label++];
    const shown = softmaxAt(logits, temperature);
    reliability.add(label, shown);
    seen.push({ label, shown });
  }
  return { result: reliability.result(), seen };
}

function softmaxAt(logits: Float32Array, temperature: number): Float32Array {
  const powers = logits.map((value) => Math.exp(value / temperature));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}

test('a predictor that is too sure of itself is found out, and put right by the temperature that was taken from it', () => {
  const { result } = measure(0.5);
  expect(result.asIs.calibrationError).toBeGreaterThan(0.08);
  expect(result.fitted.calibrationError).toBeLessThan(0.03);
  expect(result.temperature).toBeCloseTo(2, 5);
});

test('a calibrated predictor stays as it is', () => {
  const { result } = measure(1);
  expect(result.temperature).toBe(1);
  expect(result.fitted).toEqual(result.asIs);
  expect(result.asIs.calibrationError).toBeLessThan(0.03);
});

test('labels of which some are any class do not look like a predictor that is too sure of itself', () => {
  const random = createRandom(3, 'noise');
  const { seen } = measure(1);
  const reliability = createReliability();
  for (const { label, shown } of seen)
    reliability.add(random.uniform() < 0.12 ? random.below(classes) : label, shown);
  const { temperature, labelNoise, asIs, fitted } = reliability.result();
  expect([temperature, labelNoise]).toEqual([1, 0.1]);
  expect(asIs.calibrationError).toBeGreaterThan(0.05);
  expect(fitted.calibrationError).toBeLessThan(0.03);
});

test('each half is judged under what fits the other, as a slow computation has it', () => {
  const { result, seen } = measure(0.7, 301);
  const candidates = Array.from({ length: 15 }, (_, index) => 8 / (index + 2)).flatMap((temperature) =>
    [0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4].map((noise) => ({ temperature, noise })),
  );
  const at = (shown: Float32Array, { temperature, noise }: (typeof candidates)[number]) =>
    softmaxAt(shown.map(Math.log), temperature).map((p) => (1 - noise) * p + noise / classes);
  const half = (which: number) => seen.filter((_, index) => index % 2 === which);
  const best = (which: number) => {
    const losses = candidates.map((one) =>
      half(which).reduce((sum, { label, shown }) => sum - Math.log(at(shown, one)[label]), 0),
    );
    return candidates[losses.indexOf(Math.min(...losses))];
  };
  const bestOf = [best(0), best(1)];
  const judged = [0, 1].flatMap((which) =>
    half(which).map(({ label, shown }) => {
      const p = at(shown, bestOf[1 - which]);
      const confidence = Math.max(...p);
      return { confidence, isCorrect: p.indexOf(confidence) === label };
    }),
  );
  const loss = [0, 1].flatMap((which) =>
    half(which).map(({ label, shown }) => -Math.log(at(shown, bestOf[1 - which])[label])),
  );
  expect(result.fittedNegativeLogLikelihood).toBeCloseTo(loss.reduce((a, b) => a + b) / loss.length, 5);
  const bins = result.fitted.bins;
  expect(bins.reduce((sum, { examples }) => sum + examples, 0)).toBe(301);
  for (const bin of bins) {
    const low = Math.floor(bin.confidence * 15) / 15;
    const inBin = judged.filter(({ confidence }) => confidence >= low && confidence < low + 1 / 15);
    expect(inBin).toHaveLength(bin.examples);
    const right = inBin.filter(({ isCorrect }) => isCorrect).length;
    expect(bin.accuracy).toBeCloseTo(right / inBin.length, 10);
  }
});

test('of thousands of classes, those about as probable as each other may be counted together', () => {
  const random = createRandom(2, 'many');
  const shown = softmaxAt(
    Float32Array.from({ length: 20_000 }, () => 4 * random.normal()),
    1,
  );
  const reliability = createReliability();
  const first = shown.indexOf(Math.max(...shown));
  for (let example = 0; example < 2; example++) reliability.add(first, shown);
  const { temperature, fitted } = reliability.result();
  expect(temperature).toBe(0.5); // the label is always the first class
  const powers = Array.from(shown, (p) => p ** (1 / temperature));
  const expected = powers[first] / powers.reduce((sum, power) => sum + power, 0);
  expect(Math.abs(fitted.bins[0].confidence / expected - 1)).toBeLessThan(1e-4);
});

test('impossible labels and no examples at all give figures', () => {
  const reliability = createReliability();
  expect(reliability.result()).toMatchObject({ examples: 0, asIs: { calibrationError: 0, bins: [] } });
  reliability.add(1, Float32Array.of(1, 0));
  expect(JSON.stringify(reliability.result())).not.toContain('null');
});
