import { expect, test } from 'vitest';
import { createRandom } from '../core/random.js';
import { createMean } from '../math/mean.js';
import { isFirstWithin, rankOf } from '../math/rank.js';
import { createEvaluation, type EvaluatedExample } from './evaluation.js';

const specialists = [
  { id: 10, classes: [2, 0, 1] },
  { id: 11, classes: [1, 3] },
];
const classCount = 6;

function randomExample(random: ReturnType<typeof createRandom>): EvaluatedExample {
  // Few distinct values, so that ties are common.
  const vector = (size: number) => Float64Array.from({ length: size }, () => random.below(4));
  const label = random.below(classCount);
  const covering = new Map(
    [0, 1]
      .filter((m) => specialists[m].classes.includes(label))
      .map((m) => [m, vector(specialists[m].classes.length + 1)]),
  );
  return {
    label,
    generalist: vector(classCount),
    ensemble: vector(classCount),
    active: [0, 1].filter(() => random.uniform() < 0.5),
    covering,
  };
}

/** The order of classes by falling probability, by sorting; ties by class. */
const order = (classes: readonly number[], at: (c: number) => number) =>
  classes.slice().sort((a, b) => at(b) - at(a) || a - b);
const all = [...Array(classCount).keys()];

test('all figures are what sorting and counting give', () => {
  const random = createRandom(1, 'evaluation');
  const examples = Array.from({ length: 400 }, () => randomExample(random));
  const evaluation = createEvaluation(specialists);
  for (const example of examples) evaluation.add(example);
  const { test: accuracy, conditional, coverage, specialists: gains } = evaluation.result();

  const top = (k: number, who: 'generalist' | 'ensemble') =>
    examples.filter((e) =>
      order(all, (c) => e[who][c])
        .slice(0, k)
        .includes(e.label),
    ).length / 400;
  expect(accuracy.examples).toBe(400);
  expect(accuracy.generalist.top1).toBe(top(1, 'generalist'));
  expect(accuracy.ensemble.top1).toBe(top(1, 'ensemble'));
  expect(accuracy.generalist.top5).toBe(top(5, 'generalist'));
  expect(accuracy.ensemble.top5).toBe(top(5, 'ensemble'));
  const isRight = (e: (typeof examples)[number], who: 'generalist' | 'ensemble') =>
    order(all, (c) => e[who][c])[0] === e.label;
  const changed = (to: 'generalist' | 'ensemble') =>
    examples.filter((e) => isRight(e, 'generalist') !== isRight(e, 'ensemble') && isRight(e, to)).length;
  expect([accuracy.fixed, accuracy.broken]).toEqual([changed('ensemble'), changed('generalist')]);
  expect(accuracy.difference.top1).toBeCloseTo(top(1, 'ensemble') - top(1, 'generalist'), 12);
  const p = accuracy.generalist.top1;
  expect(accuracy.generalist.top1StandardError).toBeCloseTo(Math.sqrt((p * (1 - p)) / 400), 12);

  const pairs = examples.flatMap((e) => [...e.covering].map(([m, answer]) => ({ e, m, answer })));
  const share = (subset: typeof pairs, first: (pair: (typeof pairs)[number]) => number) =>
    subset.filter((pair) => first(pair) === pair.e.label).length / subset.length;
  const byGeneralist = ({ e, m }: (typeof pairs)[number]) =>
    order(specialists[m].classes, (c) => e.generalist[c])[0];
  const bySpecialist = ({ m, answer }: (typeof pairs)[number]) =>
    order(specialists[m].classes, (c) => answer[specialists[m].classes.indexOf(c)])[0];
  const byEnsemble = ({ e, m }: (typeof pairs)[number]) =>
    order(specialists[m].classes, (c) => e.ensemble[c])[0];
  expect(conditional.pairs).toBe(pairs.length);
  expect(conditional.examples).toBe(examples.filter((e) => e.covering.size > 0).length);
  expect(conditional.generalist.top1).toBe(share(pairs, byGeneralist));
  expect(conditional.specialists.top1).toBe(share(pairs, bySpecialist));
  expect(conditional.ensemble.top1).toBe(share(pairs, byEnsemble));

  expect(coverage.map((row) => row.specialists)).toEqual([0, 1, 2]);
  expect(coverage.reduce((sum, row) => sum + row.examples, 0)).toBe(400);
  const both = examples.filter((e) => e.label === 1);
  const right = both.filter((e) => order(all, (c) => e.generalist[c])[0] === 1).length;
  const after = both.filter((e) => order(all, (c) => e.ensemble[c])[0] === 1).length;
  expect(coverage[2]).toMatchObject({
    examples: both.length,
    generalistCorrect: right,
    ensembleCorrect: after,
    relativeChange: (after - right) / right,
  });

  const ofSecond = pairs.filter(({ m }) => m === 1);
  expect(gains[1]).toMatchObject({ id: 11, size: 2, covered: { examples: ofSecond.length } });
  expect(gains[1].covered.gain).toBeCloseTo(
    share(ofSecond, bySpecialist) - share(ofSecond, byGeneralist),
    12,
  );
  expect(gains[1].routed.examples).toBe(examples.filter((e) => e.active.includes(1)).length);
});

test('the standard error of dependent pairs is that of repeated experiments', () => {
  const random = createRandom(3, 'repeat');
  const means: number[] = [];
  let predicted = 0;
  for (let experiment = 0; experiment < 1500; experiment++) {
    const mean = createMean();
    for (let e = 0; e < 60; e++) {
      const trials = 1 + random.below(4);
      mean.add(random.uniform() < 0.3 ? trials : 0, trials); // all trials of an example agree
    }
    means.push(mean.estimate().mean);
    predicted += mean.estimate().standardError / 1500;
  }
  const centre = means.reduce((a, b) => a + b, 0) / means.length;
  const observed = Math.sqrt(means.reduce((sum, m) => sum + (m - centre) ** 2, 0) / means.length);
  expect(Math.abs(predicted / observed - 1)).toBeLessThan(0.08);
});

test('ties go to the lower class', () => {
  expect(rankOf([0.2, 0.4, 0.4], 1)).toBe(0);
  expect(rankOf([0.2, 0.4, 0.4], 2)).toBe(1);
  expect(isFirstWithin([5, 3], () => 0.5, 3)).toBe(true);
  expect(isFirstWithin([5, 3], () => 0.5, 5)).toBe(false);
});

test('nothing seen, nothing claimed; an answer that is missing is a defect', () => {
  const evaluation = createEvaluation(specialists);
  expect(evaluation.result().test).toMatchObject({ examples: 0, generalist: { top1: 0 } });
  expect(evaluation.result().test.relativeGain).toBeUndefined();
  expect(evaluation.covering(1)).toEqual([0, 1]);
  const uniform = new Float64Array(classCount);
  expect(() =>
    evaluation.add({ label: 1, generalist: uniform, ensemble: uniform, active: [], covering: new Map() }),
  ).toThrow(/made no prediction/);
});
