import type { ImageShape } from '../data/source.js';
import type { ImageTrace, SpecialistTrace } from '../ensemble/inference.js';
import { firstClass } from '../math/rank.js';
import { type RankedClass, rankClasses } from '../models/ranked-class.js';

/** What of a trace is shown. */
export interface ShownTrace extends Pick<ImageTrace, 'generalist' | 'ensemble'> {
  readonly specialists: readonly Pick<SpecialistTrace, 'position' | 'isActive' | 'probabilities'>[];
}

const shownClasses = 5; // of each answer

/** What one specialist predicted for an image. */
export interface ShownSpecialist {
  readonly id: number;
  /** Classes of its subset. */
  readonly size: number;
  /** The probability it gives to all other classes together. */
  readonly dustbin: number;
  readonly top: readonly RankedClass[];
}

/** One image of the evaluated split with the predictions of generalist, specialists and ensemble. */
export interface ReportExample {
  /** Index in the split, in the written order, from 0. */
  readonly row: number;
  /** Its true class. */
  readonly label: { readonly index: number; readonly class: string };
  /** `png` is a data URI. */
  readonly image: ImageShape & { readonly png: string };
  /** Whether the first classes of generalist and ensemble differ. */
  readonly differs: boolean;
  /** Whether the generalist is wrong and the ensemble right. */
  readonly isFixed?: boolean;
  readonly generalist: readonly RankedClass[];
  readonly ensemble: readonly RankedClass[];
  /** Those that were queried. */
  readonly specialists: readonly ShownSpecialist[];
}

/**
 * Finds the image to show: the first, in the order of the offers, that shows most of what an ensemble does. One that
 * the generalist gets wrong and the ensemble right goes before one where their first classes differ, and that before
 * one for which a specialist was queried. How many are fixed and how many broken is shown beside it.
 */
export function createExampleSearch() {
  let found: ReportExample | undefined;
  let most = 0;
  return {
    /** Offers an image of class `label`; `describe` is called only if it is to be kept. */
    async offer(
      trace: ShownTrace,
      label: number,
      describe: () => Promise<Omit<ReportExample, 'differs' | 'isFixed'>>,
    ): Promise<void> {
      if (most === 3 || !trace.specialists.some(({ isActive }) => isActive)) return;
      const [before, after] = [firstClass(trace.generalist), firstClass(trace.ensemble)];
      const differs = before !== after;
      const isFixed = differs && after === label;
      const shows = isFixed ? 3 : differs ? 2 : 1;
      if (shows > most) found = { ...(await describe()), differs, isFixed };
      most = Math.max(most, shows);
    },
    result: (): ReportExample | undefined => found,
  };
}

/**
 * A trace, by name.
 *
 * @param names the class names, (classes)
 * @param subsets of all specialists, by position
 */
export function describeTrace(
  { generalist, ensemble, specialists }: ShownTrace,
  names: readonly string[],
  subsets: readonly { readonly id: number; readonly classes: readonly number[] }[],
): Pick<ReportExample, 'generalist' | 'ensemble' | 'specialists'> {
  return {
    generalist: rankClasses(generalist, shownClasses, names),
    ensemble: rankClasses(ensemble, shownClasses, names),
    specialists: specialists
      .filter(({ isActive }) => isActive)
      .map(({ position, probabilities }) => {
        const { id, classes } = subsets[position];
        const named = probabilities.subarray(0, classes.length);
        return {
          id,
          size: classes.length,
          dustbin: probabilities[classes.length],
          top: rankClasses(named, shownClasses, names, classes),
        };
      }),
  };
}
