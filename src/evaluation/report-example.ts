import type { ImageShape } from '../data/source.js';
import type { Distributions } from '../ensemble/ensemble.js';
import type { Probabilities } from '../ensemble/rules/distributions.js';
import { topK } from '../math/top-k.js';
import type { RankedClass } from '../models/ranked-class.js';

const shownClasses = 5; // of each answer

/** What one specialist said about an image. */
export interface SpecialistStatement {
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
  /** Those that were asked. */
  readonly specialists: readonly SpecialistStatement[];
}

/**
 * Finds the image to show: the first, in the order of the offers, for which a specialist was asked and the first
 * answers of generalist and ensemble differ; without such an image, the first for which a specialist was asked.
 * Whether an answer is right plays no part, so that the choice flatters nobody.
 */
export function createExampleSearch() {
  let found: ReportExample | undefined;
  return {
    /** Offers an image; `describe` is called only if it is to be kept. */
    offer(answers: Distributions, describe: () => Omit<ReportExample, 'differs'>): void {
      if (found?.differs || !answers.specialists.some(({ isActive }) => isActive)) return;
      const differs = firstClass(answers.generalist) !== firstClass(answers.ensemble);
      if (differs || found === undefined) found = { ...describe(), differs };
    },
    result: (): ReportExample | undefined => found,
  };
}

/**
 * The answers for one image, by name.
 *
 * @param answers both distributions, (classes), and those of the specialists
 * @param names the class names, (classes)
 * @param subsets of all specialists, by position
 */
export function describeAnswers(
  answers: Distributions,
  names: readonly string[],
  subsets: readonly { readonly id: number; readonly classes: readonly number[] }[],
): Pick<ReportExample, 'generalist' | 'ensemble' | 'specialists'> {
  const rank = (probabilities: Probabilities, classOf: (place: number) => number): RankedClass[] => {
    const { indices } = topK(probabilities, shownClasses);
    return Array.from(indices, (place) => {
      const index = classOf(place);
      return { index, class: names[index], probability: probabilities[place] };
    });
  };
  return {
    generalist: rank(answers.generalist, (place) => place),
    ensemble: rank(answers.ensemble, (place) => place),
    specialists: answers.specialists
      .filter(({ isActive }) => isActive)
      .map(({ position, probabilities }) => {
        const { id, classes } = subsets[position];
        return {
          id,
          size: classes.length,
          dustbin: probabilities[classes.length],
          top: rank(probabilities.subarray(0, classes.length), (place) => classes[place]),
        };
      }),
  };
}

function firstClass(probabilities: Probabilities): number {
  return topK(probabilities, 1).indices[0];
}
