import { assert } from '../core/errors.js';
import { createTestAccuracy, type TestAccuracy } from './accuracy.js';
import { type ConditionalAccuracy, createConditionalAccuracy } from './conditional.js';
import { type CoverageRow, createCoverage } from './coverage.js';
import { createLikelihoodFit, type Likelihood } from './likelihood.js';
import { createSpecialistGains, type SpecialistGain } from './specialist-gain.js';

/** One test example with what was predicted for it. Specialists are positions in the list of specialists. */
export interface EvaluatedExample {
  readonly label: number;
  /** (classes) */
  readonly generalist: ArrayLike<number>;
  /** (classes) */
  readonly ensemble: ArrayLike<number>;
  /** The specialists that took part in the ensemble's prediction. */
  readonly active: readonly number[];
  /** For every specialist that covers the label, active or not: (s + 1), the dustbin last. */
  readonly covering: ReadonlyMap<number, ArrayLike<number>>;
}

/** Everything that is measured on the test split. */
export interface Evaluation {
  readonly test: TestAccuracy;
  readonly conditional: ConditionalAccuracy;
  readonly coverage: readonly CoverageRow[];
  readonly likelihood: Likelihood;
  readonly specialists: readonly SpecialistGain[];
}

/**
 * Measures an ensemble against its generalist, one example at a time; nothing of an example is kept.
 *
 * @param specialists those that take part at inference, with their subsets
 *
 * Cost: an example costs one pass over the classes and over the subsets that cover its label.
 */
export function createEvaluation(
  specialists: readonly { readonly id: number; readonly classes: ArrayLike<number> }[],
) {
  const covers = new Map<number, number[]>();
  specialists.forEach(({ classes }, m) => {
    for (const c of Array.from(classes)) covers.set(c, [...(covers.get(c) ?? []), m]);
  });
  const test = createTestAccuracy();
  const conditional = createConditionalAccuracy();
  const coverage = createCoverage();
  const gains = createSpecialistGains(specialists);
  const fits = { generalist: createLikelihoodFit(), ensemble: createLikelihoodFit() };
  return {
    /** The specialists (positions) whose subsets hold a class: those whose predictions `add` wants to see. */
    covering(label: number): readonly number[] {
      return covers.get(label) ?? [];
    },
    add({ label, generalist, ensemble, active, covering }: EvaluatedExample): void {
      const positions = covers.get(label) ?? [];
      const predictions = positions.map((m) => {
        const probabilities = covering.get(m);
        assert(probabilities !== undefined, `specialist ${m} covers class ${label} but made no prediction`);
        return { classes: specialists[m].classes, probabilities };
      });
      const ranks = test.add(label, generalist, ensemble);
      fits.generalist.add(label, generalist);
      fits.ensemble.add(label, ensemble);
      const generalistCorrect = ranks.generalist === 0;
      const ensembleCorrect = ranks.ensemble === 0;
      const outcomes = conditional.add(label, generalist, ensemble, predictions);
      coverage.add(positions.length, generalistCorrect, ensembleCorrect);
      for (const m of active) gains.addRouted(m, generalistCorrect, ensembleCorrect);
      outcomes.forEach((outcome, i) => {
        gains.addCovered(positions[i], outcome);
      });
    },
    result(): Evaluation {
      return {
        test: test.result(),
        conditional: conditional.result(),
        coverage: coverage.result(),
        likelihood: { generalist: fits.generalist.result(), ensemble: fits.ensemble.result() },
        specialists: gains.result(),
      };
    },
  };
}
