import { createMean } from '../math/mean.js';
import type { PairOutcome } from './conditional.js';

/** What one specialist is worth, as differences of top-1 accuracy with their paired standard errors. */
export interface SpecialistGain {
  readonly id: number;
  readonly size: number;
  /** Examples on which it was active: ensemble minus generalist, over all classes. */
  readonly routed: { readonly examples: number; readonly gain: number; readonly standardError: number };
  /** Examples whose label it covers: predictions restricted to its classes. */
  readonly covered: {
    readonly examples: number;
    readonly generalist: number;
    readonly specialist: number;
    readonly ensemble: number;
    /** Specialist minus generalist. */
    readonly gain: number;
    readonly standardError: number;
  };
}

/** Gains of each of some specialists, which are named by their position in the list. */
export function createSpecialistGains(
  specialists: readonly { readonly id: number; readonly classes: ArrayLike<number> }[],
) {
  const means = specialists.map(() => ({
    routed: createMean(),
    generalist: createMean(),
    specialist: createMean(),
    ensemble: createMean(),
    covered: createMean(),
  }));
  return {
    /** Adds an example on which the specialist was active. */
    addRouted(specialist: number, generalistCorrect: boolean, ensembleCorrect: boolean): void {
      means[specialist].routed.add(Number(ensembleCorrect) - Number(generalistCorrect));
    },
    /** Adds an example whose label the specialist covers. */
    addCovered(specialist: number, outcome: PairOutcome): void {
      const mean = means[specialist];
      for (const who of ['generalist', 'specialist', 'ensemble'] as const) mean[who].add(outcome[who]);
      mean.covered.add(outcome.specialist - outcome.generalist);
    },
    result(): readonly SpecialistGain[] {
      return specialists.map(({ id, classes }, m) => {
        const { routed, covered, generalist, specialist, ensemble } = means[m];
        const routedGain = routed.estimate();
        const coveredGain = covered.estimate();
        return {
          id,
          size: classes.length,
          routed: {
            examples: routed.examples,
            gain: routedGain.mean,
            standardError: routedGain.standardError,
          },
          covered: {
            examples: covered.examples,
            generalist: generalist.estimate().mean,
            specialist: specialist.estimate().mean,
            ensemble: ensemble.estimate().mean,
            gain: coveredGain.mean,
            standardError: coveredGain.standardError,
          },
        };
      });
    },
  };
}
