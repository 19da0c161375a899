import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fuseByGradientDescent, objectiveAt } from '../../../test/support/fusion-reference.js';
import { createRandom, type Random } from '../../core/random.js';
import type { SpecialistPrediction } from './distributions.js';
import { createFuser, fuse } from './paper.js';

interface Problem {
  readonly generalist: Float64Array;
  readonly specialists: readonly (SpecialistPrediction & { readonly weight: number })[];
  readonly generalistWeight: number;
}

/** A distribution whose entries spread over `decades` powers of ten, some of them zero; the last never is. */
function distribution(random: Random, size: number, decades: number, zeros: number): Float64Array {
  const values = Float64Array.from({ length: size }, () =>
    random.uniform() < zeros ? 0 : 10 ** (-decades * random.uniform()),
  );
  values[size - 1] += 1e-3;
  const sum = values.reduce((total, value) => total + value, 0);
  return values.map((value) => value / sum);
}

/** Any shape that the fusion must bear: overlaps, identical and nested subsets, empty or full dustbins, weights. */
const problems = fc
  .record({
    seed: fc.integer(),
    classes: fc.integer({ min: 2, max: 40 }),
    specialists: fc.integer({ min: 0, max: 10 }),
    density: fc.constantFrom(0.05, 0.3, 0.6, 0.95),
    decades: fc.constantFrom(0.5, 3, 8, 20),
    zeros: fc.constantFrom(0, 0.2),
    weightDecades: fc.constantFrom(0, 3),
    subsets: fc.constantFrom('independent', 'identical', 'nested'),
    dustbin: fc.constantFrom('any', 'empty', 'full'),
  })
  .map((shape): Problem => {
    const random = createRandom(shape.seed, 'fusion');
    const weight = () => 10 ** (shape.weightDecades * (2 * random.uniform() - 1));
    // The last class lies in no subset and always has mass, so that every problem is feasible.
    const generalist = distribution(random, shape.classes, shape.decades, shape.zeros);
    let subset: number[] | undefined;
    const specialists = Array.from({ length: shape.specialists }, () => {
      const from: number[] =
        subset !== undefined && shape.subsets !== 'independent'
          ? subset
          : [...Array(shape.classes - 1).keys()];
      const keep = shape.subsets === 'identical' && subset !== undefined ? 1 : shape.density;
      subset = from.filter(() => random.uniform() < keep);
      const probabilities = distribution(random, subset.length + 1, shape.decades, shape.zeros);
      if (subset.length > 0 && shape.dustbin !== 'any' && random.uniform() < 0.5) {
        if (shape.dustbin === 'full') probabilities.fill(0).fill(1, -1);
        else probabilities.fill(0).fill(1, 0, 1);
      }
      return { classes: Int32Array.from(random.shuffle(subset.slice())), probabilities, weight: weight() };
    });
    return { generalist, specialists, generalistWeight: weight() };
  });

const solve = ({ generalist, specialists, generalistWeight }: Problem) =>
  fuse(generalist, specialists, { generalistWeight });

/** (classes), the right-hand side of the fixed point minus its left-hand side, over W: dense and obvious. */
function fixedPointResidual(
  { generalist, specialists, generalistWeight }: Problem,
  q: Float64Array,
): Float64Array {
  const total = specialists.reduce((sum, { weight }) => sum + weight, generalistWeight);
  return q.map((mass, i) => {
    let right = generalistWeight * generalist[i];
    for (const { classes, probabilities, weight } of specialists) {
      const position = classes.indexOf(i);
      const outside = q.reduce((sum, value, c) => (classes.includes(c) ? sum : sum + value), 0);
      if (position >= 0) right += weight * probabilities[position];
      else if (probabilities[classes.length] > 0) {
        right += (mass * weight * probabilities[classes.length]) / outside;
      }
    }
    return right / total - mass;
  });
}

describe('properties', () => {
  test('the answer is a distribution, found in at most 20 steps', () => {
    fc.assert(
      fc.property(problems, (problem) => {
        const { probabilities, iterations } = solve(problem);
        expect(probabilities.every((p) => p >= 0)).toBe(true);
        expect(probabilities.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12);
        expect(iterations).toBeLessThanOrEqual(20);
      }),
      { numRuns: 1000 },
    );
  });

  test('it satisfies the fixed point, which is to say that the gradient is zero', () => {
    fc.assert(
      fc.property(problems, (problem) => {
        for (const residual of fixedPointResidual(problem, solve(problem).probabilities)) {
          expect(Math.abs(residual)).toBeLessThan(1e-11);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('the objective is that of the answer, and never above what gradient descent finds', () => {
    fc.assert(
      fc.property(problems, (problem) => {
        const { generalist, specialists, generalistWeight } = problem;
        const { probabilities, objective } = solve(problem);
        const scale = specialists.reduce((sum, { weight }) => sum + weight, generalistWeight);
        const direct = objectiveAt(probabilities, generalist, specialists, generalistWeight);
        expect(Math.abs(objective - direct)).toBeLessThan(1e-11 * scale);
        const reference = fuseByGradientDescent(generalist, specialists, { generalistWeight, maxSteps: 200 });
        expect(objective).toBeLessThanOrEqual(reference.objective + 1e-9);
      }),
      { numRuns: 150 },
    );
  });

  test('the order of the specialists does not matter', () => {
    fc.assert(
      fc.property(problems, (problem) => {
        const forth = solve(problem).probabilities;
        const back = solve({ ...problem, specialists: problem.specialists.slice().reverse() }).probabilities;
        forth.forEach((p, i) => {
          expect(Math.abs(p - back[i])).toBeLessThan(1e-8);
        });
      }),
      { numRuns: 200 },
    );
  });

  test('one specialist: the closed form', () => {
    fc.assert(
      fc.property(problems, ({ generalist, specialists, generalistWeight }) => {
        if (specialists.length === 0) return;
        const [{ classes, probabilities, weight }] = specialists;
        const expected = new Float64Array(generalist.length);
        classes.forEach((c, i) => {
          expected[c] =
            (generalistWeight * generalist[c] + weight * probabilities[i]) / (generalistWeight + weight);
        });
        const rest = 1 - expected.reduce((sum, p) => sum + p, 0);
        const outside = generalist.reduce((sum, p, c) => (classes.includes(c) ? sum : sum + p), 0);
        generalist.forEach((p, c) => {
          if (!classes.includes(c)) expected[c] = (rest * p) / outside;
        });
        const { probabilities: q } = fuse(generalist, specialists.slice(0, 1), { generalistWeight });
        q.forEach((p, c) => {
          expect(Math.abs(p - expected[c])).toBeLessThan(1e-11);
        });
      }),
      { numRuns: 200 },
    );
  });

  test('a fuser finds what fuse finds, one specialist by a shorter way', () => {
    const fuser = createFuser(40);
    fc.assert(
      fc.property(problems, ({ generalist, specialists, generalistWeight }) => {
        for (const active of [specialists, specialists.slice(0, 1)]) {
          const expected = fuse(generalist, active, { generalistWeight }).probabilities;
          fuser(generalist, active, { generalistWeight }).probabilities.forEach((p, c) => {
            expect(Math.abs(p - expected[c])).toBeLessThan(1e-14);
          });
        }
      }),
      { numRuns: 200 },
    );
  });

  test('classes in no active subset keep the proportions of the generalist; unsupported ones stay at zero', () => {
    fc.assert(
      fc.property(problems, (problem) => {
        const { generalist, specialists } = problem;
        const q = solve(problem).probabilities;
        const last = generalist.length - 1;
        generalist.forEach((p, c) => {
          const answers = specialists.filter(({ classes }) => classes.includes(c));
          if (answers.length === 0) {
            expect(Math.abs(q[c] - (q[last] * p) / generalist[last])).toBeLessThan(1e-13);
          }
          if (p === 0 && answers.every((answer) => answer.probabilities[answer.classes.indexOf(c)] === 0)) {
            expect(q[c]).toBe(0);
          }
        });
      }),
      { numRuns: 200 },
    );
  });
});

describe('known answers', () => {
  test('gradient descent, given time, ends at the same distribution', () => {
    const random = createRandom(4, 'gradient descent');
    const generalist = distribution(random, 30, 1, 0);
    const specialists = [
      [1, 2, 3, 4, 5],
      [4, 5, 6, 7],
      [20, 21, 1],
    ].map((classes) => ({
      classes: Int32Array.from(classes),
      probabilities: distribution(random, classes.length + 1, 1, 0),
    }));
    const reference = fuseByGradientDescent(generalist, specialists, { maxSteps: 20_000 });
    const { probabilities, objective } = fuse(generalist, specialists);
    expect(objective).toBeCloseTo(reference.objective, 12);
    probabilities.forEach((p, c) => {
      expect(p).toBeCloseTo(reference.probabilities[c], 8);
    });
  });

  test('no active specialist: the generalist, and nothing to minimise', () => {
    expect(fuse(Float32Array.of(0.5, 0.25, 0.25), [])).toEqual({
      probabilities: Float64Array.of(0.5, 0.25, 0.25),
      objective: 0,
      iterations: 0,
    });
  });

  test('two disjoint specialists whose dustbins deny each other, with all but no mass outside', () => {
    const generalist = Float64Array.of(0.5, 0.5 - 1e-30, 1e-30);
    const sure = Float64Array.of(0, 1);
    const specialists = [0, 1].map((c) => ({ classes: Int32Array.of(c), probabilities: sure }));
    const { probabilities, iterations } = fuse(generalist, specialists);
    // By symmetry q = (x, x, 1 - 2x), and x maximises log x + 2 log(1 - x).
    for (const p of probabilities) expect(p).toBeCloseTo(1 / 3, 12);
    expect(iterations).toBeLessThanOrEqual(20);
  });

  test('one dustbin goes to a class with hardly any mass, whole', () => {
    for (const little of [1e-30, 1e-250, 1e-310]) {
      const specialist = { classes: Int32Array.of(0), probabilities: Float64Array.of(0.2, 0.8) };
      for (const solver of [fuse, createFuser(3)]) {
        const { probabilities, iterations } = solver(Float64Array.of(1, little, 0), [specialist]);
        expect(probabilities[0]).toBeCloseTo(0.6, 14);
        expect(probabilities[1]).toBeCloseTo(0.4, 14);
        expect(probabilities[2]).toBe(0);
        expect(iterations).toBe(0);
      }
    }
  });

  test('a subset of all classes with an empty dustbin is an average', () => {
    const all = { classes: Int32Array.of(2, 0, 1), probabilities: Float64Array.of(0.2, 0.2, 0.6, 0) };
    const { probabilities } = fuse(Float64Array.of(0.6, 0.2, 0.2), [all]);
    expect(probabilities[0]).toBeCloseTo(0.4, 14);
    expect(probabilities[1]).toBeCloseTo(0.4, 14);
    expect(probabilities[2]).toBeCloseTo(0.2, 14);
  });

  test('more specialists than a bit mask would hold', () => {
    const random = createRandom(9, 'many');
    const generalist = distribution(random, 200, 2, 0);
    const specialists = Array.from({ length: 50 }, (_, m) => {
      const classes = Int32Array.from({ length: 12 }, (_, i) => (m * 3 + i * 5) % 199);
      return { classes, probabilities: distribution(random, 13, 2, 0), weight: 1 };
    });
    const { probabilities, iterations } = fuse(generalist, specialists);
    const residual = fixedPointResidual({ generalist, specialists, generalistWeight: 1 }, probabilities);
    expect(Math.max(...residual.map(Math.abs))).toBeLessThan(1e-12);
    expect(iterations).toBeLessThanOrEqual(20);
  });
});

describe('input', () => {
  const generalist = Float64Array.of(0.5, 0.3, 0.2);
  const specialist = { classes: Int32Array.of(0, 1), probabilities: Float64Array.of(0.1, 0.7, 0.2) };

  test('float32 sums that are off by rounding are scaled', () => {
    const off = { ...specialist, probabilities: specialist.probabilities.map((p) => p * (1 - 9e-5)) };
    const { probabilities } = fuse(
      generalist.map((p) => p * (1 + 9e-5)),
      [off],
    );
    [0.3, 0.5, 0.2].forEach((p, c) => {
      expect(probabilities[c]).toBeCloseTo(p, 14);
    });
  });

  test.each([
    ['not a number', Float64Array.of(0.5, Number.NaN, 0.5), specialist, {}, /position 1 holds NaN/],
    ['negative', Float64Array.of(1.2, -0.2, 0), specialist, {}, /position 1 holds -0.2/],
    ['infinite', Float64Array.of(Number.POSITIVE_INFINITY, 0, 0), specialist, {}, /sum to Infinity/],
    ['a wrong sum', Float64Array.of(0.5, 0.3, 0.3), specialist, {}, /must sum to 1/],
    [
      'a wrong sum of the specialist',
      generalist,
      { ...specialist, probabilities: Float64Array.of(1, 1, 1) },
      {},
      /specialist 0/,
    ],
    [
      'no dustbin',
      generalist,
      { ...specialist, probabilities: Float64Array.of(0.5, 0.5) },
      {},
      /needs 3 probabilities/,
    ],
    [
      'class out of range',
      generalist,
      { ...specialist, classes: Int32Array.of(0, 3) },
      {},
      /class 3.*0 to 2/,
    ],
    ['negative class', generalist, { ...specialist, classes: Int32Array.of(0, -1) }, {}, /class -1/],
    ['a class twice', generalist, { ...specialist, classes: Int32Array.of(1, 1) }, {}, /class 1 twice/],
    ['weight 0', generalist, { ...specialist, weight: 0 }, {}, /weight of specialist 0/],
    ['weight NaN', generalist, specialist, { generalistWeight: Number.NaN }, /weight of the generalist/],
    [
      'dustbin without any class to go to',
      Float64Array.of(0.5, 0.5, 0),
      specialist,
      {},
      /dustbin of specialist 0/,
    ],
    ['output of a wrong size', generalist, specialist, { out: new Float64Array(2) }, /output 2/],
  ])('%s', (_, p, answer, options, message) => {
    for (const solver of [fuse, createFuser(3)]) {
      const attempt = () => solver(p, [answer], options);
      expect(attempt).toThrow(expect.objectContaining({ code: 'fusion-input' }));
      expect(attempt).toThrow(message);
    }
  });

  test('a fuser gives what fuse gives, also after an error, and writes where it is told', () => {
    const fuser = createFuser(3);
    const out = new Float64Array(3);
    expect(() => fuser(generalist, [{ ...specialist, classes: Int32Array.of(2, 7) }])).toThrow();
    const { probabilities } = fuser(generalist, [specialist], { out });
    expect(probabilities).toBe(out);
    expect(out).toEqual(fuse(generalist, [specialist]).probabilities);
    expect(fuser(generalist, []).probabilities).toEqual(generalist);
    const fewer = Float64Array.of(0.5, 0.5);
    expect(createFuser(5)(fewer, []).probabilities).toEqual(fewer);
    expect(() => createFuser(1)(fewer, [])).toThrow(/at most 1 classes.*has 2/);
  });
});
