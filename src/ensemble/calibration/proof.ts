import type { Pause } from '../../core/pause.js';
import { fusionRule } from '../rules/index.js';
import type { ParameterValues } from '../rules/rule.js';
import { type CompactExample, outcome, temperedGeneralist } from './calibration-example.js';
import { type CalibrationParameters, createCalibrationFit } from './calibration-fit.js';

/** What examples that nothing was chosen on show of an ensemble. A type, not an interface, so that it is JSON. */
export type Proof = {
  readonly examples: number;
  /** Examples that the ensemble alone gets right. */
  readonly gained: number;
  /** Examples that the generalist alone gets right. */
  readonly lost: number;
  /** The probability that an ensemble which is no better than the generalist does as well: see {@link signTest}. */
  readonly chance: number;
  /** The largest `chance` at which the ensemble is used. */
  readonly risk: number;
  readonly isShown: boolean;
};

/**
 * The probability of as many gains among the examples on which two classifiers differ, or more, where gains are no more
 * likely than losses: McNemar's test, exact and one-sided.
 *
 *     P(X >= gained),   X ~ Binomial(gained + lost, 1/2)
 *
 * For an ensemble that is no better than the generalist it is at most r with a probability of at most r, whatever r and
 * however many examples. Cost: O(gained + lost).
 *
 * @see McNemar, Note on the sampling error of the difference between correlated proportions or percentages,
 * Psychometrika 12, 1947
 */
export function signTest(gained: number, lost: number): number {
  const count = gained + lost;
  let logTerm = -count * Math.LN2; // of 0 gains
  let sum = 0;
  for (let gains = 0; gains <= count; gains++) {
    if (gains >= gained) sum += Math.exp(logTerm);
    logTerm += Math.log((count - gains) / (gains + 1));
  }
  return Math.min(1, sum);
}

/** What was chosen of an ensemble. */
export interface ChosenEnsemble {
  readonly rule: string;
  readonly labelNoise: number;
  readonly generalistTemperature: number;
  /** Of the rule, per ensemble. */
  readonly parameters: ParameterValues;
  readonly specialists: readonly {
    readonly temperature: number;
    readonly weight: number;
    readonly parameters?: ParameterValues;
    readonly kept: boolean;
  }[];
}

/** Every third example is kept for the proof: neither a parameter nor a rule nor a specialist is chosen on it. */
export function splitForProof<T>(examples: readonly T[]): { readonly fitted: T[]; readonly held: T[] } {
  const isHeld = (index: number) => index % 3 === 2;
  return {
    fitted: examples.filter((_, index) => !isHeld(index)),
    held: examples.filter((_, index) => isHeld(index)),
  };
}

/**
 * Puts an ensemble to the proof.
 *
 * The ensemble is used if it is shown, and an ensemble that is worse than its generalist is shown with a probability of
 * `risk` at most: over all data sets of which that many hold an ensemble that is worse, one in `1 / risk` would be used.
 *
 * @param held examples that had no part in what was chosen
 * @param risk in (0, 1)
 */
export async function prove(
  held: readonly CompactExample[],
  chosen: ChosenEnsemble,
  risk: number,
  pause: Pause,
): Promise<Proof> {
  const outcomes = await outcomesOf(held, chosen, pause);
  let gained = 0;
  let lost = 0;
  for (const [position, example] of held.entries()) {
    const before = outcome(temperedGeneralist(example, 1), example).correct;
    const { correct: after } = outcomes[position];
    if (after > before) gained++;
    else if (before > after) lost++;
  }
  const chance = signTest(gained, lost);
  return { examples: held.length, gained, lost, chance, risk, isShown: chance <= risk };
}

/** What an ensemble makes of examples. */
export async function outcomesOf(examples: readonly CompactExample[], chosen: ChosenEnsemble, pause: Pause) {
  const { specialists, rule, labelNoise, generalistTemperature, parameters } = chosen;
  const fit = await createCalibrationFit(examples, [], specialists.length, fusionRule(rule), pause);
  const fitted: CalibrationParameters = {
    labelNoise,
    generalistTemperature,
    temperatures: specialists.map(({ temperature }) => temperature),
    weights: specialists.map(({ weight }) => weight),
    ofEnsemble: { ...parameters },
    ofSpecialists: specialists.map((specialist) => ({ ...specialist.parameters })),
    kept: specialists.map(({ kept }) => kept),
  };
  await fit.adopt(fitted);
  return fit.outcomes();
}
