import { createMean } from '../math/mean.js';
import type { FirstClasses } from './first-classes.js';

/** Shares of images with the right first class, before a patch and after it. */
export interface PatchFigures {
  readonly examples: number;
  readonly before: number;
  readonly after: number;
  /** Of the difference, which is paired. */
  readonly standardError: number;
}

/**
 * A patched model against what it was made of.
 *
 * @param options.unlabelled the label of images without one, of which those count as right that are predicted as before
 */
export function patchFigures(
  { labels, before: first, after: second }: Pick<FirstClasses, 'labels' | 'before' | 'after'>,
  { unlabelled }: { readonly unlabelled?: number | undefined } = {},
): PatchFigures {
  const [before, after, difference] = [createMean(), createMean(), createMean()];
  for (const [image, given] of labels.entries()) {
    const label = given === unlabelled ? first[image] : given;
    const [isRight, isStillRight] = [Number(first[image] === label), Number(second[image] === label)];
    before.add(isRight);
    after.add(isStillRight);
    difference.add(isStillRight - isRight);
  }
  return {
    examples: before.examples,
    before: before.estimate().mean,
    after: after.estimate().mean,
    standardError: difference.estimate().standardError,
  };
}
