import { KdSpecError } from '../../core/errors.js';

/** How often special classes come, truly and in the specialist's training. */
export interface DustbinCounts {
  /** Training examples (not classes) whose label lies in the subset. */
  readonly specialExamples: number;
  /** All other training examples. */
  readonly otherExamples: number;
  /** s, the fraction of the specialist's training batches that was special, in (0, 1). */
  readonly sampledSpecialFraction?: number;
}

/**
 * What the dustbin logit is raised by, to undo the over-sampling of special examples.
 *
 *     log( ((1 - pi) / pi) / ((1 - s) / s) ),   pi = special / (special + other)
 *
 * By Bayes' rule: training with a special fraction s instead of pi multiplies the odds of the dustbin by
 * `((1 - s)/s) / ((1 - pi)/pi)`, and leaves the odds among the special classes alone.
 *
 * @param counts numbers of examples, both above 0, and the sampled fraction (default 0.5, the paper's)
 * @returns the correction, to be added to the dustbin logit, in nats
 * @throws KdSpecError `option-invalid` when a count is not above 0 or the fraction is not in (0, 1)
 *
 * Source: Hinton, Vinyals and Dean (2015), section 5.2.
 *
 * @example
 * dustbinCorrection({ specialExamples: 20, otherExamples: 980 }); // 3.89
 */
export function dustbinCorrection({
  specialExamples,
  otherExamples,
  sampledSpecialFraction = 0.5,
}: DustbinCounts): number {
  if (!(specialExamples > 0 && otherExamples > 0)) {
    throw new KdSpecError(
      'option-invalid',
      `a dustbin correction needs examples inside and outside the subset, but there are ${specialExamples} and ` +
        `${otherExamples}: check the subset and the training split`,
    );
  }
  if (!(sampledSpecialFraction > 0 && sampledSpecialFraction < 1)) {
    throw new KdSpecError(
      'option-invalid',
      `the sampled special fraction must lie between 0 and 1, but is ${sampledSpecialFraction}`,
    );
  }
  return (
    Math.log(otherExamples / specialExamples) -
    Math.log((1 - sampledSpecialFraction) / sampledSpecialFraction)
  );
}

/**
 * What an anchored dustbin's logit is raised by, for one image: the generalist's own logit for all classes outside the
 * subset, from where the specialist starts and what its dustbin's row adds to.
 *
 *     log sum over i outside S of exp(z_i) = log sum over all i of exp(z_i) + log(1 - m(x))
 *
 * with z the generalist's logits and m(x) its mass on the subset, both at temperature 1. A row of a head is linear in the
 * features, which this logit is not: the row that comes nearest is far from it where the subset is a small part of many
 * classes. A generalist surer of the subset than 1 in 10,000 counts as that sure, as a difference of masses in single
 * precision tells no more.
 *
 * @param logSumExp over all logits of the generalist, in nats
 * @param mass m(x), in [0, 1]
 * @returns the anchor, to be added to the dustbin logit, in nats
 */
export function dustbinAnchor(logSumExp: number, mass: number): number {
  return logSumExp + Math.log(Math.max(1 - mass, leastOutside));
}

/** The least mass of the generalist outside a subset that {@link dustbinAnchor} tells from none. */
export const leastOutside = 1e-4;

/** How outsiders were drawn where they come from. */
export interface RoutedOutsiders {
  /** Share of the outsiders that was drawn by the generalist's mass on the subset, in [0, 1]; the rest uniformly. */
  readonly share: number;
  /** Mean of that mass over all outsiders of the training split, above 0. */
  readonly meanMass: number;
}

/**
 * What else the dustbin logit is raised by, for one image, when outsiders were drawn by the generalist's mass.
 *
 *     - log( (1 - share) + share m(x) / mean m )
 *
 * with m(x) the generalist's mass on the subset. By Bayes' rule: an outsider x came `r(x) / u(x)` times as often as
 * under uniform drawing, which multiplied the odds of the dustbin at x by as much; the special classes were drawn as
 * before. Beside {@link dustbinCorrection}, which undoes the sampled fraction.
 *
 * @param mass m(x), in [0, 1]
 * @returns the correction, to be added to the dustbin logit, in nats; 0 for a share of 0
 */
export function routedCorrection(mass: number, { share, meanMass }: RoutedOutsiders): number {
  return -Math.log(Math.max(1 - share + (share * mass) / meanMass, smallestRatio));
}

const smallestRatio = 1e-6; // of drawing probabilities: a share of 1 leaves images without mass out altogether
