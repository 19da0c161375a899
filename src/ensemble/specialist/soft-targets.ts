import type { Teaching } from './cached-feature-source.js';
import { fullAnswers } from './full-answers.js';
import type { SpecialistHead } from './head.js';
import type { OutsiderMasses } from './outsiders.js';
import { keptClasses } from './shared-features.js';
import { type SoftAnswers, softAnswers } from './soft-answers.js';

/**
 * What the generalist's predictions teach a specialist, as its head and its share of soft targets want it.
 *
 * @param options.classes the subset, (s)
 * @param options.outputOf the head's output for each class, (classes)
 * @param options.correction of the dustbin, in nats
 * @param options.masses by which outsiders are drawn, if they are
 * @returns how answers are made and read; undefined where labels alone teach
 */
export function softTargets(
  { head, softShare }: { readonly head: SpecialistHead; readonly softShare: number },
  {
    classes,
    outputOf,
    correction,
    masses,
  }: {
    readonly classes: readonly number[];
    readonly outputOf: Int32Array;
    readonly correction: number;
    readonly masses: OutsiderMasses | undefined;
  },
): { readonly answers: SoftAnswers; readonly teaching: Teaching } | undefined {
  if (head === 'full') {
    const inside = classes.length;
    const options = { inside, outputOf, listed: keptClasses, correction, masses, softShare };
    const answers = fullAnswers(options);
    return { answers, teaching: { head, width: answers.width, inside, outputs: outputOf.length } };
  }
  if (softShare === 0) return undefined;
  const answers = softAnswers(classes, correction, masses);
  return { answers, teaching: { head, width: answers.width, softShare } };
}
