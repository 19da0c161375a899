import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { selectBackend } from '../../compute/backend.js';
import { softmax } from '../../math/softmax.js';
import { type SpecialistPrediction, smallestSoftmax } from './distributions.js';
import { fusionRules } from './index.js';
import { createFuseInPlace, type FusionRule, type ParameterValues, type SpecialistLogits } from './rule.js';

const classCount = 12;

const { operations } = await selectBackend('wasm');

/** Logits of generalist and specialists up to a size, and the rule's parameters. */
const problems = (rule: FusionRule, size: number) => {
  const logits = (length: number) =>
    fc
      .array(fc.float({ min: -size, max: size, noNaN: true }), { minLength: length, maxLength: length })
      .map((values) => Float32Array.from(values));
  const subset = fc.uniqueArray(fc.nat({ max: classCount - 1 }), { minLength: 1, maxLength: classCount - 2 });
  const parameters = (per: 'ensemble' | 'specialist') =>
    fc
      .tuple(
        ...rule.parameters
          .filter((parameter) => parameter.per === per)
          .map(({ name, neutral, range: [low, high] }) =>
            fc
              .constantFrom(neutral, low, 0.3 * high + 0.7 * low, high)
              .map((value) => [name, value] as const),
          ),
      )
      .map((entries): ParameterValues => Object.fromEntries(entries));
  const specialist = fc
    .tuple(
      subset,
      logits(classCount + 1),
      fc.double({ min: 0.4, max: 4, noNaN: true }),
      fc.double({ min: 0.1, max: 10, noNaN: true }),
      parameters('specialist'),
    )
    .map(
      ([classes, all, temperature, weight, own]): SpecialistLogits => ({
        classes: Int32Array.from(classes),
        logits: all.slice(0, classes.length + 1),
        temperature,
        weight,
        parameters: own,
      }),
    );
  return fc.tuple(
    logits(classCount),
    fc.array(specialist, { minLength: 1, maxLength: 3 }),
    parameters('ensemble'),
    fc.boolean(),
  );
};

/** The same as probabilities. */
const probabilitiesOf = (specialist: SpecialistLogits): SpecialistPrediction => {
  const { classes, logits, temperature, weight, parameters } = specialist;
  return { classes, probabilities: softmax(logits, { temperature }), weight, parameters };
};

function inPlace(rule: FusionRule, parameters: ParameterValues) {
  return createFuseInPlace(rule, { classCount, largestSubset: classCount, parameters });
}

/** The fast form on arrays of JavaScript, or, with a kernel, in the backend's memory. */
function fuseFast(
  rule: FusionRule,
  parameters: ParameterValues,
  generalist: Float32Array,
  specialists: readonly SpecialistLogits[],
  usesKernel: boolean,
): Float32Array {
  const q = generalist.slice();
  if (!usesKernel) {
    inPlace(rule, parameters)(q, specialists);
    return q;
  }
  const kernel = operations.geometricMean(classCount + 1);
  const tensor = operations.tensor(generalist, [1, classCount]);
  const values = operations.valuesInPlace(tensor);
  if (!kernel || !values) throw new Error('wasm is not in force');
  expect([kernel.reaches(values), kernel.reaches(q)]).toEqual([true, false]);
  createFuseInPlace(rule, { classCount, largestSubset: classCount, parameters, kernel })(values, specialists);
  q.set(values);
  tensor.dispose();
  return q;
}

describe.each(fusionRules)('$name', (rule) => {
  test('the fast form finds in place, from logits, what the exact form finds of probabilities', () => {
    fc.assert(
      fc.property(problems(rule, 3), ([logits, specialists, parameters, usesKernel]) => {
        const generalist = Float32Array.from(softmax(logits));
        const q = fuseFast(rule, parameters, generalist, specialists, usesKernel);
        const exact = rule.create(classCount);
        exact(generalist, specialists.map(probabilitiesOf), { parameters }).forEach((p, c) => {
          expect(Math.abs(q[c] - p)).toBeLessThan(2e-6);
        });
      }),
      { numRuns: 1000 },
    );
  });

  test('the result is a distribution, however confident a prediction is', () => {
    fc.assert(
      fc.property(problems(rule, 300), ([logits, specialists, parameters, usesKernel]) => {
        const generalist = Float32Array.from(softmax(logits));
        const q = fuseFast(rule, parameters, generalist, specialists, usesKernel);
        const positive = Float64Array.from(generalist, (p) => Math.max(p, smallestSoftmax));
        const exact = rule.create(classCount)(positive, specialists.map(probabilitiesOf), { parameters });
        for (const fused of [[...q], [...exact]]) {
          expect(Math.abs(fused.reduce((sum, p) => sum + p, 0) - 1)).toBeLessThan(1e-5);
          expect(Math.min(...fused)).toBeGreaterThanOrEqual(0);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('a dustbin makes a difference where the rule says so, and only there', () => {
    let differences = 0;
    let uses = 0;
    fc.assert(
      fc.property(problems(rule, 3), ([logits, specialists, parameters]) => {
        const fuse = inPlace(rule, parameters);
        const fused = [0, 1.5].map((raised) => {
          const q = Float32Array.from(softmax(logits));
          fuse(
            q,
            specialists.map((specialist) => ({
              ...specialist,
              logits: specialist.logits.map((z, i, { length }) => (i === length - 1 ? z + raised : z)),
            })),
          );
          return q;
        });
        if (!rule.usesDustbin(parameters)) expect(fused[1]).toEqual(fused[0]);
        else {
          uses++;
          differences += Number(fused[0].some((p, c) => p !== fused[1][c]));
        }
      }),
      { numRuns: 300 },
    );
    expect(differences).toBeGreaterThanOrEqual(uses / 2);
  });
});
