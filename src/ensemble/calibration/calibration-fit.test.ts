import { expect, test } from 'vitest';
import { createRandom } from '../../core/random.js';
import { softmax } from '../../math/softmax.js';
import { fusionRules } from '../rules/index.js';
import type { FusionRule } from '../rules/rule.js';
import { type CompactExample, compactExample } from './calibration-example.js';
import { createCalibrationFit } from './calibration-fit.js';

const classCount = 12;
const subsets = [{ classes: [0, 1, 2, 3] }, { classes: [4, 5, 6] }];

/** Examples with one active specialist, and a few with none or both. */
function examplesOf(kind: string, count: number): CompactExample[] {
  const random = createRandom(1, kind);
  const drawn = (length: number, scale: number) =>
    softmax(Float64Array.from({ length }, () => scale * random.normal()));
  return Array.from({ length: count }, (_, at) => {
    const active = at % 10 === 0 ? [] : at % 10 === 1 ? [0, 1] : [at % 2];
    // Sometimes sure of a subset, or of none of it; sometimes so sure that a label counts as impossible.
    const probabilities = drawn(classCount, at % 7 === 0 ? 12 : at % 5 === 0 ? 60 : 1.5);
    return compactExample(
      {
        label: kind === 'validation' ? random.below(7) : 7 + random.below(5),
        generalist: { classes: [...probabilities.keys()], probabilities },
        specialists: active.map((specialist) => ({
          specialist,
          probabilities: drawn(subsets[specialist].classes.length + 1, 2),
        })),
      },
      subsets,
      classCount,
    );
  });
}

const movers = fusionRules.filter(({ massOf }) => massOf !== undefined);

test('rules that move mass can tell what other values of their parameters would do', () => {
  expect(movers.map(({ name }) => name)).toEqual(
    fusionRules.filter(({ parameters }) => parameters.length > 0).map(({ name }) => name),
  );
});

test.each(movers)('$name: parameters are those that a fusion for every value finds', async (rule) => {
  const fitted = async (one: FusionRule) => {
    const fit = await createCalibrationFit(
      examplesOf('validation', 120),
      examplesOf('bystanders', 60),
      subsets.length,
      one,
      () => undefined,
    );
    await fit.fitGeneralistTemperature();
    await fit.fitTemperature([0, 1]);
    await fit.fitWeight();
    for (const odds of [-2, 1]) {
      fit.weighBystanders(Math.exp(-odds));
      for (const parameter of rule.parameters) {
        if (parameter.per === 'ensemble') await fit.fitParameter(parameter);
        else for (const m of [0, 1]) await fit.fitParameter(parameter, [m]);
      }
    }
    return structuredClone({ ...fit.parameters });
  };
  const { massOf: _massOf, ...plain } = rule;
  const [quick, slow] = [await fitted(rule), await fitted(plain)];
  expect(slow.ofSpecialists.some(({ massShift }) => Math.abs(massShift) > 0.1)).toBe(true);
  for (const m of [0, 1])
    for (const [name, value] of Object.entries(slow.ofSpecialists[m]))
      expect(quick.ofSpecialists[m][name]).toBeCloseTo(value, 6);
  for (const [name, value] of Object.entries(slow.ofEnsemble))
    expect(quick.ofEnsemble[name]).toBeCloseTo(value, 6);
});
