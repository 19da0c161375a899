import { signedWithin } from '../core/percent.js';
import { createMean } from '../math/mean.js';
import { type Top1, top1Of } from './accuracy.js';
import type { FirstClasses } from './first-classes.js';

/** What specialists do to images of what none of them learned, fractions in [0, 1]. */
export interface BystanderReport {
  /** What the images are. */
  readonly description: string;
  readonly examples: number;
  /** Those whose class is known. */
  readonly labelled: number;
  /** Over the labelled ones; absent where there is none. */
  readonly generalist?: Top1;
  readonly ensemble?: Top1;
  /** Share of all images whose most probable class is the generalist's. */
  readonly agreement: number;
  /** Of labelled images the accuracy that is lost, of the others every change of the most probable class. */
  readonly harm: number;
  /** Of the paired difference; that of one changed prediction at least, as nobody knows from few images that none changes. */
  readonly standardError: number;
  /** Under which the rule and its numbers were chosen; absent where there was none. */
  readonly bound?: number;
  /** What other bounds would bring on validation, by rising harm but for chance. */
  readonly tradeOff?: TradeOff;
}

/** Gains of top-1 on validation and what they cost bystanders, none of which anything was fitted to: fractions. */
export type TradeOff = readonly {
  readonly top1Gain: number;
  readonly top1StandardError: number;
  readonly harm: number;
  readonly standardError: number;
}[];

/** A {@link TradeOff} as a table for a person. */
export function tradeOffTable(points: TradeOff): {
  readonly caption: string;
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
} {
  return {
    caption: 'What more or less harm would bring, on validation and bystanders that nothing was fitted to',
    header: ['harm to bystanders', 'gain in top-1'],
    rows: points.map(({ top1Gain, top1StandardError, harm, standardError }) => [
      signedWithin(harm, standardError),
      signedWithin(top1Gain, top1StandardError),
    ]),
  };
}

/**
 * What an ensemble does to bystanders.
 *
 *     harm = (1/n) (sum over labelled images of [generalist right] - [ensemble right] + unlabelled images that changed)
 *
 * Where the generalist is an imported model with another last layer, the model as it was stands in its place.
 *
 * @param first the classes that come first, of bystanders; a label that is no class of the ensemble stands for none
 * @param classes of the ensemble
 */
export function bystanderFigures(
  { labels, before, after }: FirstClasses,
  classes: number,
): Omit<BystanderReport, 'description' | 'bound'> {
  const [generalist, fused, agreement, harm] = [createMean(), createMean(), createMean(), createMean()];
  for (const [image, label] of labels.entries()) {
    const isChanged = Number(before[image] !== after[image]);
    agreement.add(1 - isChanged);
    if (label >= classes) {
      harm.add(isChanged);
      continue;
    }
    const [wasRight, isRight] = [Number(before[image] === label), Number(after[image] === label)];
    generalist.add(wasRight);
    fused.add(isRight);
    harm.add(wasRight - isRight);
  }
  const estimate = harm.estimate();
  return {
    examples: labels.length,
    labelled: generalist.examples,
    ...(generalist.examples > 0 && { generalist: top1Of(generalist), ensemble: top1Of(fused) }),
    agreement: agreement.estimate().mean,
    harm: estimate.mean,
    standardError: Math.max(estimate.standardError, 1 / Math.max(1, labels.length)),
  };
}
