import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createPause } from '../../core/pause.js';
import { createRandom } from '../../core/random.js';
import { softmax } from '../../math/softmax.js';
import { type CalibrationExample, calibrate } from './calibration.js';
import { compactExample, outcome, temperedGeneralist } from './calibration-example.js';
import { type ChosenEnsemble, outcomesOf, signTest } from './proof.js';

/** P(X = k) of X ~ Binomial(n, p), by Pascal's triangle. */
function binomial(n: number, p: number): number[] {
  let row = [1];
  for (let trial = 0; trial < n; trial++) {
    const before = row;
    row = Array.from(
      { length: before.length + 1 },
      (_, k) => p * (before[k - 1] ?? 0) + (1 - p) * (before[k] ?? 0),
    );
  }
  return row;
}

test('the sign test is the tail of a fair coin', () => {
  expect(signTest(0, 0)).toBe(1);
  expect(signTest(5, 0)).toBeCloseTo(1 / 32, 12);
  expect(signTest(4, 1)).toBeCloseTo(6 / 32, 12);
  fc.assert(
    fc.property(fc.nat({ max: 60 }), fc.nat({ max: 60 }), (gained, lost) => {
      const tail = binomial(gained + lost, 0.5)
        .slice(gained)
        .reduce((sum, mass) => sum + mass, 0);
      expect(signTest(gained, lost)).toBeCloseTo(tail, 9);
    }),
  );
  expect(signTest(5200, 4800)).toBeCloseTo(3.3e-5, 6); // two standard deviations are 200
});

test('an ensemble that is no better is shown no more often than the risk, however many examples', () => {
  for (const risk of [0.01, 0.05, 0.2]) {
    for (let differing = 0; differing <= 50; differing++) {
      for (const share of [0.5, 0.45, 0.3]) {
        const shown = binomial(differing, share).reduce(
          (sum, mass, gained) => sum + (signTest(gained, differing - gained) <= risk ? mass : 0),
          0,
        );
        expect(shown).toBeLessThanOrEqual(risk + 1e-12);
      }
    }
  }
});

const classCount = 6;
const subsets = [
  { id: 0, classes: [0, 1, 2] },
  { id: 1, classes: [3, 4, 5] },
];

/** A generalist with noise, and specialists that add their own: `skill` is what they know of the label. */
function worldOf(seed: number, skill: number) {
  const random = createRandom(seed, 'world');
  return (count: number): CalibrationExample[] =>
    Array.from({ length: count }, () => {
      const label = random.below(classCount);
      const scores = Float64Array.from(
        { length: classCount },
        (_, c) => 1.5 * random.normal() + (c === label ? 2 : 0),
      );
      const probabilities = softmax(scores);
      const first = scores.indexOf(Math.max(...scores));
      const specialist = first < 3 ? 0 : 1;
      const own = Float64Array.from(
        subsets[specialist].classes,
        (c) => 1.5 * random.normal() + (c === label ? skill : 0),
      );
      const dustbin = subsets[specialist].classes.includes(label) ? -1 : 1;
      return {
        label,
        generalist: { classes: [...probabilities.keys()], probabilities },
        specialists: [
          { specialist, probabilities: softmax(Float64Array.of(...own, dustbin * random.normal())) },
        ],
      };
    });
}

const pause = createPause(undefined, 'a simulation');

/** Accuracy of an ensemble less its generalist's on examples without end, as nobody has them. */
async function trueGain(chosen: ChosenEnsemble, fresh: readonly CalibrationExample[]): Promise<number> {
  const compact = fresh.map((example) => compactExample(example, subsets, classCount));
  const after = (await outcomesOf(compact, chosen, pause)).reduce((sum, { correct }) => sum + correct, 0);
  const before = compact.reduce((sum, one) => sum + outcome(temperedGeneralist(one, 1), one).correct, 0);
  return (after - before) / fresh.length;
}

test('with a risk, few worlds end with an ensemble that is worse than its generalist', {
  timeout: 120_000,
}, async () => {
  const worlds = 40;
  const risk = 0.05;
  let worse = 0;
  let worseUnproved = 0;
  for (let seed = 0; seed < worlds; seed++) {
    const draw = worldOf(seed, -0.3); // specialists that know less than nothing, and look well by chance
    const [validation, fresh] = [draw(45), draw(800)];
    const options = { rule: 'share-inside', selectionErrors: 0, sweeps: 1 };
    const proved = await calibrate(validation, subsets, classCount, { ...options, risk });
    const unproved = await calibrate(validation, subsets, classCount, options);
    if (proved.proof?.isShown === false) expect(proved.specialists.some(({ kept }) => kept)).toBe(false);
    if ((await trueGain(proved, fresh)) < 0) worse++;
    if ((await trueGain(unproved, fresh)) < 0) worseUnproved++;
  }
  expect(worse / worlds).toBeLessThanOrEqual(risk);
  expect(worseUnproved / worlds).toBeGreaterThan(risk); // or there is nothing to bound
});

test('specialists that know something are shown, and used', async () => {
  const draw = worldOf(7, 4);
  const validation = draw(400);
  const { proof, specialists, ensemble, generalist } = await calibrate(validation, subsets, classCount, {
    rule: 'share-inside',
    risk: 0.05,
  });
  expect(proof).toMatchObject({ examples: 133, risk: 0.05, isShown: true });
  expect(proof?.gained).toBeGreaterThan(proof?.lost ?? 0);
  expect(specialists.every(({ kept }) => kept)).toBe(true);
  expect(ensemble.top1).toBeGreaterThan(generalist.top1);
});

test('without a gain on the held-out images nothing is left of the specialists, in any figure', async () => {
  const validation = worldOf(3, -1)(60);
  const { proof, specialists, ensemble, crossFitted, generalist } = await calibrate(
    validation,
    subsets,
    classCount,
    { rule: 'share-inside', select: false, risk: 0.05 },
  );
  expect(proof?.isShown).toBe(false);
  expect(specialists.some(({ kept }) => kept)).toBe(false);
  expect(ensemble.top1).toBe(generalist.top1);
  expect(crossFitted).toEqual(ensemble);
});

test('outcomes are those of labels with the noise that was chosen', async () => {
  const examples = worldOf(3, 1)(40).map((example) => compactExample(example, subsets, classCount));
  const specialists = subsets.map(() => ({ temperature: 1, weight: 1, kept: true }));
  const chosen = { rule: 'paper', labelNoise: 0.2, generalistTemperature: 1.5, parameters: {}, specialists };
  const outcomes = await outcomesOf(examples, chosen, () => undefined);
  const clean = await outcomesOf(examples, { ...chosen, labelNoise: 0 }, () => undefined);
  for (const [at, { logLikelihood, correct }] of outcomes.entries()) {
    const withNoise = 0.8 * Math.exp(clean[at].logLikelihood) + 0.2 / classCount;
    expect([Math.exp(logLikelihood), correct]).toEqual([expect.closeTo(withNoise, 10), clean[at].correct]);
  }
});

test('two examples are too few to hold one out', async () => {
  await expect(calibrate(worldOf(1, 0)(2), subsets, classCount, { risk: 0.05 })).rejects.toThrow(
    /at least 3 validation examples, .* there are 2/,
  );
});
