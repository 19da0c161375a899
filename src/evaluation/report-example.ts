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

/** One image of the evaluated split with the answers of generalist, specialists and ensemble. */
export interface ReportExample {
  /** Index in the split, in the written order, from 0. */
  readonly row: number;
  /** Its true class. */
  readonly label: { readonly index: number; readonly class: string };
  /** `png` is a data URI. */
  readonly image: ImageShape & { readonly png: string };
  /** Whether generalist and ensemble answer differently. */
  readonly differs: boolean;
  readonly generalist: readonly RankedClass[];
  readonly ensemble: readonly RankedClass[];
  /** Those that were queried. */
  readonly specialists: readonly ShownSpecialist[];
}

/**
 * Finds the image to show: the first, in the order of the offers, for which a specialist was queried and the first
 * classes of generalist and ensemble differ; without such an image, the first for which a specialist was queried.
 * Whether an answer is right plays no part, so that the choice flatters nobody.
 */
export function createExampleSearch() {
  let found: ReportExample | undefined;
  return {
    /** Offers an image; `describe` is called only if it is to be kept. */
    async offer(trace: ShownTrace, describe: () => Promise<Omit<ReportExample, 'differs'>>): Promise<void> {
      if (found?.differs || !trace.specialists.some(({ isActive }) => isActive)) return;
      const differs = firstClass(trace.generalist) !== firstClass(trace.ensemble);
      if (differs || found === undefined) found = { ...(await describe()), differs };
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
