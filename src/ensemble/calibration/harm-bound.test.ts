import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRandom } from '../../core/random.js';
import { firstClass } from '../../math/rank.js';
import { softmax } from '../../math/softmax.js';
import { fusionRules } from '../rules/index.js';
import { betterFirst, type CalibrationExample, calibrate } from './calibration.js';
import { harmOf, isWithinBound } from './harm-bound.js';

const classCount = 12;
const subsets = [
  { id: 0, classes: [0, 1, 2] },
  { id: 1, classes: [3, 4, 5] },
];

/**
 * A generalist that is often unsure between a subset and the classes outside, and whose specialists know the class inside.
 * Validation has images of subsets, bystanders of the classes 6 to 11.
 */
function examplesOf(seed: number, count: number, kind: 'validation' | 'bystanders'): CalibrationExample[] {
  const random = createRandom(seed, kind);
  return Array.from({ length: count }, () => {
    const label = kind === 'validation' ? random.below(6) : 6 + random.below(6);
    const logits = Float64Array.from({ length: classCount }, () => 1.5 * random.normal());
    logits[label] += 1.5;
    const probabilities = softmax(logits);
    const specialists = subsets.map(({ classes }, specialist) => {
      const own = Float64Array.from({ length: 4 }, () => random.normal());
      const place = classes.indexOf(label);
      own[place < 0 ? 3 : place] += place < 0 ? 1 : 3;
      return { specialist, probabilities: softmax(own) };
    });
    return { label, generalist: { classes: [...probabilities.keys()], probabilities }, specialists };
  });
}

test('harm is the loss of accuracy, and never known better than one change of one image', () => {
  const outcome = fc.record({ before: fc.constantFrom(0, 1), after: fc.constantFrom(0, 1) });
  fc.assert(
    fc.property(fc.array(outcome, { minLength: 1, maxLength: 60 }), (drawn) => {
      const outcomes = drawn.map(({ before, after }) => ({ before: before as 0 | 1, after: after as 0 | 1 }));
      const { examples, harm, standardError } = harmOf(outcomes);
      const right = (key: 'before' | 'after') => outcomes.filter((one) => one[key] === 1).length;
      expect(examples).toBe(outcomes.length);
      expect(harm).toBeCloseTo((right('before') - right('after')) / examples, 12);
      expect(standardError).toBeGreaterThanOrEqual(1 / examples);
      expect(isWithinBound({ examples, harm, standardError }, harm + standardError)).toBe(true);
      expect(isWithinBound({ examples, harm, standardError }, harm + standardError - 1e-9)).toBe(false);
    }),
  );
});

test('the bound holds on the bystanders that were fitted to, for every rule, or the generalist is left alone', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: 1000 }),
      fc.constantFrom(...fusionRules.map(({ name }) => name)),
      fc.constantFrom(0.001, 0.01, 0.03, 0.1),
      async (seed, rule, harm) => {
        const { bystanders, specialists, ensemble, generalist } = await calibrate(
          examplesOf(seed, 80, 'validation'),
          subsets,
          classCount,
          { rule, harm, bystanders: examplesOf(seed, 100, 'bystanders'), sweeps: 1 },
        );
        expect(bystanders?.bound).toBe(harm);
        if (bystanders?.refused === undefined) {
          expect((bystanders?.harm.harm ?? 1) + (bystanders?.harm.standardError ?? 1)).toBeLessThanOrEqual(
            harm,
          );
        } else {
          expect(specialists.some(({ kept }) => kept)).toBe(false);
          expect(bystanders.harm.harm).toBe(0);
          expect(ensemble.top1).toBe(generalist.top1);
        }
      },
    ),
    { numRuns: 3 },
  );
});

test('a wider bound lets masses rise further and gains more, where mass was too low', async () => {
  const validation = examplesOf(1, 150, 'validation');
  const bystanders = examplesOf(1, 150, 'bystanders');
  const fits = await Promise.all(
    [0.02, 0.2].map((harm) =>
      calibrate(validation, subsets, classCount, {
        rule: 'share-inside',
        harm,
        bystanders,
        select: false,
        sweeps: 1,
      }),
    ),
  );
  const shiftOf = (index: number) =>
    Math.max(...fits[index].specialists.map(({ parameters }) => parameters?.massShift ?? 0));
  expect(shiftOf(1)).toBeGreaterThan(shiftOf(0) + 0.3);
  expect(fits[1].ensemble.top1).toBeGreaterThan(fits[0].ensemble.top1);
  expect(fits[0].ensemble.top1).toBeGreaterThan(fits[0].generalist.top1);
});

test('what other bounds would bring is told: more gain for more harm', async () => {
  const { bystanders, others, generalist } = await calibrate(
    examplesOf(1, 150, 'validation'),
    subsets,
    classCount,
    {
      rule: 'share-inside',
      harm: 0.05,
      bystanders: examplesOf(1, 150, 'bystanders'),
      select: false,
      sweeps: 1,
    },
  );
  const points = bystanders?.tradeOff ?? [];
  expect(points.length).toBeGreaterThan(2);
  const gains = points.map(({ gain }) => gain.mean);
  expect(gains).toEqual([...gains].sort((a, b) => a - b));
  expect(points[0].gain.mean).toBeGreaterThan(0);
  expect(points.at(-1)?.gain.mean).toBeLessThanOrEqual(1 - generalist.top1);
  expect(points.at(-1)?.harm.harm).toBeGreaterThan((points[0].harm.harm ?? 1) + 0.05);
  expect(points.every(({ harm }) => harm.examples === 150)).toBe(true);
  // The paper's rule has nothing but its weights to move, and every value of one takes a fusion.
  expect(others.map(({ rule, bystanders: one }) => [rule, one?.tradeOff])).toEqual([['paper', undefined]]);
});

test('it is the same whatever the present bound, also one that nothing keeps', async () => {
  // All of them were right before, so that none can gain.
  const bystanders = examplesOf(1, 100, 'bystanders').map((one) => ({ ...one, before: one.label }));
  const [wide, refused] = await Promise.all(
    [0.9, 0.0001].map((harm) =>
      calibrate(examplesOf(1, 100, 'validation'), subsets, classCount, {
        rule: 'combine',
        harm,
        bystanders,
        select: false,
        sweeps: 1,
      }),
    ),
  );
  expect(refused.bystanders?.refused).toBeGreaterThan(0);
  expect(wide.bystanders?.refused).toBeUndefined();
  expect(wide.bystanders?.tradeOff?.length).toBeGreaterThan(1);
  expect(refused.bystanders?.tradeOff).toEqual(wide.bystanders?.tradeOff);
});

test('auto takes the rule that gains most within the bound', async () => {
  const auto = await calibrate(examplesOf(2, 100, 'validation'), subsets, classCount, {
    bystanders: examplesOf(2, 100, 'bystanders'),
    harm: 0.05,
    sweeps: 1,
  });
  for (const other of auto.others) expect(other.crossFitted.top1).toBeLessThanOrEqual(auto.crossFitted.top1);
  expect(auto.others).toHaveLength(fusionRules.length - 1);
});

test('a rule that all bystanders refuse, though halves of them did not, comes after one that keeps the bound', async () => {
  const { others, ...kept } = await calibrate(examplesOf(2, 60, 'validation'), subsets, classCount, {
    bystanders: examplesOf(2, 60, 'bystanders'),
    harm: 0.1,
    sweeps: 1,
  });
  const [best] = [kept, ...others].sort(betterFirst);
  if (best.bystanders === undefined) throw new Error('expected bystanders');
  const refused = {
    ...best,
    crossFitted: { ...best.crossFitted, top1: 1 },
    bystanders: { ...best.bystanders, refused: 0.2 },
  };
  expect([refused, best].sort(betterFirst)).toEqual([best, refused]);
});

test('harm is that against the model as it was, where the generalist is another', async () => {
  const bystanders = examplesOf(4, 100, 'bystanders').map((one) => ({ ...one, before: one.label }));
  const fitted = await calibrate(examplesOf(4, 80, 'validation'), subsets, classCount, {
    rule: 'share-inside',
    bystanders,
    harm: 0.05,
    sweeps: 1,
  });
  const right = bystanders.filter(
    ({ label, generalist }) => firstClass(Float64Array.from(generalist.probabilities)) === label,
  ).length;
  expect(right).toBeLessThan(90);
  // The model as it was got all of them: with the generalist alone, what that gets wrong is lost.
  expect(fitted.bystanders?.refused).toBeGreaterThan(0.05);
  expect(fitted.bystanders?.harm.harm).toBeCloseTo(1 - right / 100, 12);
  expect(fitted.specialists.some(({ kept }) => kept)).toBe(false);
});

test('without bystanders a shift stays neutral', async () => {
  const { specialists, bystanders } = await calibrate(examplesOf(3, 60, 'validation'), subsets, classCount, {
    rule: 'share-inside',
  });
  expect(bystanders).toBeUndefined();
  expect(specialists.map(({ parameters }) => parameters)).toEqual([{ massShift: 0 }, { massShift: 0 }]);
});
