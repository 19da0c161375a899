import { expect, test, vi } from 'vitest';
import { createRandom } from '../../core/random.js';
import { softmax } from '../../math/softmax.js';
import { fusionRules } from '../rules/index.js';
import { type CalibrationExample, calibrate } from './calibration.js';
import { compactExample, outcome, temperedGeneralist } from './calibration-example.js';
import type { CalibrationPlan } from './calibration-plan.js';

const classCount = 12;
const subsets = [
  { id: 4, classes: [0, 1, 2, 3] },
  { id: 7, classes: [4, 5, 6, 7] },
];

/**
 * Examples with a known truth: the generalist knows the pair of classes, and that at a wrong temperature;
 * specialist 0 also knows which of the two it is, specialist 1 says anything, loudly.
 */
function examplesOf(count: number, generalistTemperature: number): CalibrationExample[] {
  const random = createRandom(11, 'calibration');
  return Array.from({ length: count }, () => {
    const label = random.below(classCount);
    const pair = label - (label % 2);
    const other = pair + ((label + 1) % 2);
    const logits = Float64Array.from({ length: classCount }, () => random.normal());
    // A label drawn from the truth itself, so that temperature 1 is right for `truth`.
    logits[pair] += 4;
    logits[pair + 1] += 4;
    const truth = softmax(logits);
    const drawn = draw(truth, random.uniform());
    const specialist = [0, 1].find((m) => subsets[m].classes.includes(pair));
    const answers = [];
    if (specialist === 0) {
      const known = Float64Array.from([0, 1, 2, 3, -1], (c) => (c === drawn ? 0.8 : 0.05));
      if (drawn > 3) known[4] = 0.8;
      answers.push({ specialist, probabilities: known });
    } else if (specialist === 1) {
      const loud = new Float64Array(5).fill(0.01);
      loud[other - 4] = 0.96;
      answers.push({ specialist, probabilities: loud });
    }
    const said = temper(truth, generalistTemperature);
    return {
      label: drawn,
      generalist: { classes: [...said.keys()], probabilities: said },
      specialists: answers,
    };
  });
}

/** The distribution at a temperature, by its definition: p^(1/T), normalised. */
function temper(probabilities: Float64Array, temperature: number): Float64Array {
  const powers = probabilities.map((p) => p ** (1 / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function draw(probabilities: Float64Array, uniform: number): number {
  let left = uniform;
  return Math.max(
    0,
    probabilities.findIndex((p) => {
      left -= p;
      return left < 0;
    }),
  );
}

test('the temperature of a lone generalist that was flattened by 2 comes back as a half', async () => {
  const examples = examplesOf(2500, 2).map((example) => ({ ...example, specialists: [] }));
  const calibration = await calibrate(examples, subsets, classCount);
  expect(calibration.generalistTemperature).toBeGreaterThan(0.46);
  expect(calibration.generalistTemperature).toBeLessThan(0.54);
  expect(calibration.specialists.every(({ kept }) => !kept)).toBe(true);
  expect(calibration.ensemble.negativeLogLikelihood).toBeLessThan(
    calibration.generalist.negativeLogLikelihood,
  );
});

test.each(fusionRules.map(({ name }) => name))(
  '%s: who helps is kept, who misleads is left out',
  async (rule) => {
    const calibration = await calibrate(examplesOf(500, 1), subsets, classCount, { rule });
    const [helpful, misleading] = calibration.specialists;
    expect(helpful).toMatchObject({ id: 4, kept: true });
    expect(helpful.gain).toBeGreaterThan(5 * helpful.standardError);
    expect(misleading).toMatchObject({ id: 7, kept: false });
    expect(calibration.ensemble.top1).toBeGreaterThan(calibration.generalist.top1);
    expect(calibration.ensemble.negativeLogLikelihood).toBeLessThan(
      calibration.generalist.negativeLogLikelihood,
    );
  },
);

test('the share of labels that are any class is found, and does not move the temperature', async () => {
  const random = createRandom(5, 'noise');
  const clean = examplesOf(4000, 2).map((example) => ({ ...example, specialists: [] }));
  const noisy = clean.map((example) =>
    random.uniform() < 0.1 ? { ...example, label: random.below(classCount) } : example,
  );
  const [ofClean, ofNoisy] = await Promise.all(
    [clean, noisy].map((examples) => calibrate(examples, [], classCount, { rule: 'paper' })),
  );
  expect(ofClean.labelNoise).toBeLessThan(0.02);
  expect(ofNoisy.labelNoise).toBeGreaterThan(0.08);
  expect(ofNoisy.labelNoise).toBeLessThan(0.12);
  expect(ofNoisy.generalistTemperature).toBeCloseTo(ofClean.generalistTemperature, 1);
  const without = await calibrate(noisy, [], classCount, { rule: 'paper', fitLabelNoise: false });
  expect(without.labelNoise).toBe(0);
  expect(without.generalistTemperature).toBeGreaterThan(1.15 * ofNoisy.generalistTemperature);
  expect(ofNoisy.crossFitted.negativeLogLikelihood).toBeLessThan(without.crossFitted.negativeLogLikelihood);
  expect(ofNoisy.crossFitted.top1).toBe(without.crossFitted.top1);
  // No specialist takes part, so that the ensemble is the generalist with a calibration of its own.
  expect(ofNoisy.calibratedGeneralist?.negativeLogLikelihood).toBeCloseTo(
    ofNoisy.ensemble.negativeLogLikelihood,
    2,
  );
  expect(ofNoisy.ensemble.negativeLogLikelihood).toBeLessThan(
    ofNoisy.generalist.negativeLogLikelihood - 0.05,
  );
});

test('auto takes the rule that does better, and without fitting nothing is changed', async () => {
  const examples = examplesOf(200, 1);
  const auto = await calibrate(examples, subsets, classCount, { rule: 'auto' });
  const each = await Promise.all(
    fusionRules.map(({ name }) => calibrate(examples, subsets, classCount, { rule: name })),
  );
  expect(auto.top1Gain.mean).toBeCloseTo(auto.crossFitted.top1 - auto.generalist.top1, 12);
  expect(auto.top1Gain.standardError).toBeGreaterThan(0);
  expect(auto.crossFitted.negativeLogLikelihood).toBe(
    Math.min(...each.map(({ crossFitted }) => crossFitted.negativeLogLikelihood)),
  );
  expect(auto.others).toEqual(
    each
      .filter(({ rule }) => rule !== auto.rule)
      .map(
        ({ examples: _, isShared: __, generalist: ___, calibratedGeneralist: ____, others: _____, ...fit }) =>
          fit,
      ),
  );
  const plain = await calibrate(examples, subsets, classCount, { fit: false, select: false });
  expect(plain.generalistTemperature).toBe(1);
  expect(plain.labelNoise).toBe(0);
  expect(plain.calibratedGeneralist).toBeUndefined();
  expect(plain.specialists.map(({ temperature, weight, kept }) => [temperature, weight, kept])).toEqual([
    [1, 1, true],
    [1, 1, true],
  ]);
});

test("the paper's rule is fitted beside another one", async () => {
  const examples = examplesOf(60, 1);
  const paper = await calibrate(examples, subsets, classCount, { rule: 'paper' });
  const combine = await calibrate(examples, subsets, classCount, { rule: 'combine' });
  expect(paper.others).toEqual([]);
  expect(combine.rule).toBe('combine');
  expect(combine.others.map(({ rule, crossFitted }) => [rule, crossFitted])).toEqual([
    ['paper', paper.crossFitted],
  ]);
});

test('one weight for each specialist listens more to the one that knows more', async () => {
  const examples = examplesOf(400, 1);
  const options = { rule: 'share-inside', weights: 'each', select: false } as const;
  const { specialists, crossFitted } = await calibrate(examples, subsets, classCount, options);
  expect(specialists[0].weight).toBeGreaterThan(4 * specialists[1].weight);
  const shared = await calibrate(examples, subsets, classCount, { ...options, weights: 'shared' });
  expect(crossFitted.negativeLogLikelihood).toBeLessThan(shared.crossFitted.negativeLogLikelihood);
});

test('what cannot be told from noise is not kept, however often it is looked at', async () => {
  // Specialists whose answers have nothing to do with the label: a fit to the same examples finds some to be helpful.
  const random = createRandom(5, 'noise');
  const many = Array.from({ length: 40 }, (_, id) => ({ id, classes: [0, 1, 2, 3] }));
  const noise = Array.from({ length: 40 * 12 }, (_, index): CalibrationExample => {
    const label = random.below(4);
    const generalist = Float64Array.from({ length: classCount }, (_, c) => (c < 4 ? 0.24 : 0.005));
    const probabilities = softmax(Float64Array.from({ length: 5 }, () => 2 * random.normal()));
    return {
      label,
      generalist: { classes: [...generalist.keys()], probabilities: generalist },
      specialists: [{ specialist: index % 40, probabilities }],
    };
  });
  const calibration = await calibrate(noise, many, classCount, { rule: 'share-inside', selectionErrors: 2 });
  expect(calibration.specialists.filter(({ kept }) => kept).length).toBeLessThanOrEqual(4);
  expect(calibration.crossFitted.negativeLogLikelihood).toBeLessThan(
    calibration.uncalibrated.negativeLogLikelihood,
  );
});

test('a sparse example is the dense one whose unstored classes are equal', () => {
  const dense = Float64Array.of(0.5, 0.02, 0.02, 0.2, 0.02, 0.02, 0.02, 0.02, 0.02, 0.12, 0.02, 0.02);
  const example = {
    label: 1,
    generalist: { classes: [0, 3, 9], probabilities: [0.5, 0.2, 0.12] },
    specialists: [{ specialist: 1, probabilities: new Float64Array(5).fill(0.2) }],
  };
  const compact = compactExample(example, subsets, classCount);
  expect([...compact.classes]).toEqual([4, 5, 6, 7, 0, 3, 9, 1]);
  for (const temperature of [1, 0.5, 3]) {
    const expected = temper(dense, temperature);
    const tempered = temperedGeneralist(compact, temperature);
    compact.classes.forEach((c, i) => {
      expect(tempered[i]).toBeCloseTo(expected[c], 12);
    });
    expect(tempered[8]).toBeCloseTo(expected[2] + expected[8] + expected[10] + expected[11], 12);
  }
  expect(outcome(temperedGeneralist(compact, 1), compact).correct).toBe(0);
});

test('no example, and a label that is no class, are refused', async () => {
  await expect(calibrate([], subsets, classCount)).rejects.toMatchObject({ code: 'option-invalid' });
  const [example] = examplesOf(1, 1);
  await expect(calibrate([{ ...example, label: 12 }], subsets, classCount)).rejects.toMatchObject({
    code: 'predictions-invalid',
  });
});

test('a signal stops it within half a second, however much there is to do', async () => {
  const equal = Array.from({ length: 40 }, (_, id) => ({ id, classes: [0, 1, 2, 3] }));
  const examples = examplesOf(400, 1).map((example): CalibrationExample => {
    const probabilities = Float64Array.of(0.3, 0.2, 0.1, 0.1, 0.3);
    return { ...example, specialists: equal.map(({ id }) => ({ specialist: id, probabilities })) };
  });
  const controller = new AbortController();
  const calibration = calibrate(examples, equal, classCount, { signal: controller.signal });
  setTimeout(() => controller.abort(), 200);
  let abortedAt = Number.NaN;
  controller.signal.addEventListener('abort', () => {
    abortedAt = performance.now();
  });
  await expect(calibration).rejects.toMatchObject({ code: 'interrupted' });
  expect(performance.now() - abortedAt).toBeLessThan(500);
});

test('the time of many active specialists is bounded: they share parameters, and fewer examples count', async () => {
  const equal = Array.from({ length: 7 }, (_, id) => ({ id, classes: [0, 1, 2, 3] }));
  const probabilities = Float64Array.of(0.3, 0.2, 0.1, 0.1, 0.3);
  const examples = examplesOf(60, 1).map((example) => ({
    ...example,
    specialists: equal.map(({ id }) => ({ specialist: id, probabilities })),
  }));
  const plans: CalibrationPlan[] = [];
  const options = {
    rule: 'share-inside',
    select: false,
    onPlan: (plan: CalibrationPlan) => plans.push(plan),
  };
  const bounded = await calibrate(examples, equal, classCount, { ...options, timeScale: 6e-5 });
  expect(bounded).toMatchObject({ isShared: true, examples: plans[0].validation });
  expect(bounded.examples).toBeGreaterThan(2);
  expect(bounded.examples).toBeLessThan(50);
  expect(plans[0]).toMatchObject({ isShared: true, mostActive: 7 });
  expect(plans[0].estimatedSeconds).toBeLessThanOrEqual(0.012);
  expect(new Set(bounded.specialists.map(({ temperature }) => temperature)).size).toBe(1);

  const unbounded = await calibrate(examples, equal, classCount, options);
  expect(unbounded).toMatchObject({ isShared: false, examples: 60 });
  const few = await calibrate(examplesOf(60, 1), subsets, classCount, { ...options, timeScale: 6e-5 });
  expect(few).toMatchObject({ isShared: false, examples: 60 });
});

test('a plan counts the fusions of a calibration, within a factor of two', async () => {
  for (const [weights, isMany] of [
    ['shared', false],
    ['each', false],
    ['shared', true],
  ] as const) {
    const many = Array.from({ length: 10 }, (_, id) => ({ id, classes: [0, 1, 2, 3] }));
    const drawn = examplesOf(40, 1).map((example) => ({
      ...example,
      ...(isMany && {
        specialists: many.map(({ id }) => ({
          specialist: id,
          probabilities: softmax(
            Float64Array.from({ length: 5 }, (_, c) => Math.sin(id + c + example.label)),
          ),
        })),
      }),
    }));
    let fusions = 0;
    let planned = 0;
    const spies = fusionRules.flatMap((rule) => {
      const create = rule.create.bind(rule);
      return [
        vi.spyOn(rule, 'cost').mockReturnValue(1),
        vi.spyOn(rule, 'create').mockImplementation((most) => {
          const fuse = create(most);
          return (...given) => {
            fusions++;
            return fuse(...given);
          };
        }),
      ];
    });
    try {
      await calibrate(drawn, isMany ? many : subsets, classCount, {
        weights,
        onPlan: ({ estimatedSeconds }) => {
          planned = 1e6 * estimatedSeconds;
        },
      });
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
    expect(fusions).toBeLessThan(2 * planned);
    expect(fusions).toBeGreaterThan(planned / 4);
  }
});
