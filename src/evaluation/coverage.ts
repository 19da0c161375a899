import { createMean, type MeanAccumulator } from '../math/mean.js';

/** The examples whose label is covered by this many specialists. */
export interface CoverageRow {
  readonly specialists: number;
  readonly examples: number;
  readonly generalistCorrect: number;
  readonly ensembleCorrect: number;
  /** `ensembleCorrect / generalistCorrect - 1`; absent when the generalist has none correct. */
  readonly relativeChange?: number;
  /** From paired differences, the generalist's accuracy being taken as known. */
  readonly relativeChangeStandardError?: number;
}

/**
 * Top-1 correct by the number of specialists that cover the correct class.
 *
 * Source: Hinton, Vinyals and Dean (2015), section 5.5, table 4.
 */
export function createCoverage() {
  const rows = new Map<number, { generalist: MeanAccumulator; difference: MeanAccumulator }>();
  return {
    /** Adds an example: how many subsets hold its label, and whether each is right over all classes. */
    add(covering: number, generalistCorrect: boolean, ensembleCorrect: boolean): void {
      const row = rows.get(covering) ?? { generalist: createMean(), difference: createMean() };
      rows.set(covering, row);
      row.generalist.add(Number(generalistCorrect));
      row.difference.add(Number(ensembleCorrect) - Number(generalistCorrect));
    },
    /** The table, by rising number of specialists. */
    result(): readonly CoverageRow[] {
      return [...rows]
        .sort(([a], [b]) => a - b)
        .map(([specialists, { generalist, difference }]) => ({
          specialists,
          examples: generalist.examples,
          generalistCorrect: generalist.sum,
          ensembleCorrect: generalist.sum + difference.sum,
          ...(generalist.sum > 0 && {
            relativeChange: difference.sum / generalist.sum,
            relativeChangeStandardError: difference.estimate().standardError / generalist.estimate().mean,
          }),
        }));
    },
  };
}
