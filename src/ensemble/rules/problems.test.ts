import fc from 'fast-check';
import { expect, test } from 'vitest';
import { combine } from './combine.js';
import { paper } from './paper.js';
import type { FusionRule } from './rule.js';
import { shareInside } from './share-inside.js';

/** One active specialist beside a generalist over the classes 0 to n - 1; its subset is the first s of them. */
interface Problem {
  readonly generalist: Float64Array;
  readonly classes: Int32Array;
  /** (s + 1) */
  readonly specialist: Float64Array;
  readonly weight: number;
  /** v */
  readonly trust: number;
  /** In nats. */
  readonly shift: number;
  /** Two more distributions over the classes, from which others that are allowed are made. */
  readonly others: readonly Float64Array[];
}

const classCount = 6;
const distribution = (length: number) =>
  fc
    .array(fc.double({ min: -4, max: 4, noNaN: true }), { minLength: length, maxLength: length })
    .map((logits) => normalised(Float64Array.from(logits, Math.exp)));
const problems = fc.integer({ min: 1, max: classCount - 1 }).chain((size) =>
  fc.record<Problem>({
    generalist: distribution(classCount),
    classes: fc.constant(Int32Array.from({ length: size }, (_, c) => c)),
    specialist: distribution(size + 1),
    weight: fc.double({ min: 0.1, max: 10, noNaN: true }),
    trust: fc.constantFrom(0, 0.4, 1),
    shift: fc.constantFrom(0, -2, 0.7, 3),
    others: fc.tuple(distribution(classCount), distribution(classCount)),
  }),
);

function normalised(masses: Float64Array): Float64Array {
  const sum = masses.reduce((a, b) => a + b, 0);
  return masses.map((mass) => mass / sum);
}

/** KL(p || q) in nats. */
function divergence(p: ArrayLike<number>, q: ArrayLike<number>): number {
  return Array.from(p).reduce((sum, value, i) => sum + (value > 0 ? value * Math.log(value / q[i]) : 0), 0);
}

const massOf = (p: Float64Array, size: number) => p.subarray(0, size).reduce((a, b) => a + b, 0);
const inside = (p: Float64Array, size: number) => normalised(p.slice(0, size));
const outside = (p: Float64Array, size: number) => normalised(p.slice(size));
/** A subset's mass and the rest. */
const binary = (mass: number) => [mass, 1 - mass];

/** q from its mass on the subset and its proportions inside and outside. */
function compose(mass: number, within: Float64Array, without: Float64Array): Float64Array {
  return Float64Array.of(...within.map((p) => mass * p), ...without.map((p) => (1 - mass) * p));
}

/** The problem of each rule, as docs/method.md states it: an objective, and which distributions are allowed. */
const statements: readonly {
  readonly rule: FusionRule;
  readonly objective: (q: Float64Array, problem: Problem) => number;
  /** Makes of any distribution one that is allowed. */
  readonly allowed: (q: Float64Array, problem: Problem) => Float64Array;
}[] = [
  {
    rule: paper,
    objective(q, { generalist, classes: { length: size }, specialist, weight }) {
      const collapsed = [...q.subarray(0, size), 1 - massOf(q, size)];
      return divergence(generalist, q) + weight * divergence(specialist, collapsed);
    },
    allowed: (q) => q,
  },
  {
    rule: shareInside,
    objective(q, { generalist, classes: { length: size }, specialist, weight, shift }) {
      const [shares, mass] = [inside(q, size), massOf(q, size)];
      return (
        divergence(inside(generalist, size), shares) +
        weight * divergence(inside(specialist, size), shares) +
        divergence(binary(mass), binary(massOf(generalist, size))) -
        shift * mass
      );
    },
    allowed: (q, { generalist, classes: { length: size } }) =>
      compose(massOf(q, size), inside(q, size), outside(generalist, size)),
  },
  {
    rule: combine,
    objective(q, { generalist, classes: { length: size }, specialist, weight, trust, shift }) {
      const [shares, mass] = [inside(q, size), binary(massOf(q, size))];
      const share = weight / (1 + weight);
      return (
        (1 - share) * divergence(shares, inside(generalist, size)) +
        share * divergence(shares, inside(specialist, size)) +
        (1 - trust) * divergence(mass, binary(massOf(generalist, size))) +
        trust * divergence(mass, binary(massOf(specialist, size))) -
        shift * massOf(q, size)
      );
    },
    allowed: (q, { generalist, classes: { length: size } }) =>
      compose(massOf(q, size), inside(q, size), outside(generalist, size)),
  },
];

const fuse = (rule: FusionRule, { generalist, classes, specialist, weight, trust, shift }: Problem) =>
  rule.create(classCount)(
    generalist,
    [{ classes, probabilities: specialist, weight, parameters: { massShift: shift } }],
    { parameters: { dustbinTrust: trust } },
  );

test.each(statements)('$rule.name minimises its objective over what is allowed', (statement) => {
  const { rule, objective, allowed } = statement;
  fc.assert(
    fc.property(problems, (problem) => {
      const q = fuse(rule, problem);
      const least = objective(q, problem);
      allowed(q, problem).forEach((p, c) => {
        expect(Math.abs(p - q[c])).toBeLessThan(1e-9);
      });
      for (const other of [problem.generalist, ...problem.others]) {
        // Both objectives and what is allowed are convex, so that a step towards any other that is allowed never gains.
        for (const step of [1e-3, 0.1, 1]) {
          const moved = q.map((p, c) => (1 - step) * p + step * other[c]);
          expect(objective(allowed(moved, problem), problem)).toBeGreaterThan(least - 1e-10);
        }
      }
    }),
    { numRuns: 500 },
  );
});

test('the problems are three: no rule solves that of another', () => {
  const problem: Problem = {
    generalist: Float64Array.of(0.3, 0.1, 0.2, 0.15, 0.15, 0.1),
    classes: Int32Array.of(0, 1, 2),
    specialist: Float64Array.of(0.1, 0.5, 0.2, 0.2),
    weight: 2,
    trust: 0.4,
    shift: 0.3,
    others: [],
  };
  for (const { rule, objective, allowed } of statements) {
    const least = objective(fuse(rule, problem), problem);
    for (const other of statements.filter((statement) => statement.rule !== rule)) {
      const q = allowed(fuse(other.rule, problem), problem);
      expect(objective(q, problem)).toBeGreaterThan(least + 1e-4);
    }
  }
});

test('with a generalist held to its mass, combine without trust minimises the reverse divergences of the whole', () => {
  fc.assert(
    fc.property(problems, (problem) => {
      const { generalist, classes, specialist, weight } = problem;
      const share = weight / (1 + weight);
      const size = classes.length;
      const whole = (q: Float64Array) =>
        (1 - share) * divergence(q, generalist) +
        share * divergence([...q.subarray(0, size), 1 - massOf(q, size)], specialist);
      const q = fuse(combine, { ...problem, trust: 0, shift: 0 });
      for (const other of problem.others) {
        const moved = compose(massOf(generalist, size), inside(other, size), outside(generalist, size));
        for (const step of [1e-3, 0.1, 1])
          expect(whole(q.map((p, c) => (1 - step) * p + step * moved[c]))).toBeGreaterThan(whole(q) - 1e-10);
      }
    }),
    { numRuns: 200 },
  );
});
