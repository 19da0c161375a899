import { KdSpecError } from '../../core/errors.js';
import { heldOutCount } from '../../data/bystanders.js';
import type { Settings } from '../options.js';
import type { Outline } from '../outline.js';
import type { Origin, ResolvedSettings } from '../settings.js';

/**
 * What a plan is checked by, a function for each section of the options: settings that cannot work are refused before
 * anything is computed, and under `--dry-run` too. A check knows the settings, where each came from, and what the plan
 * would make; a null in the outline is something that is not known yet.
 */
export interface CheckContext {
  readonly settings: Settings;
  readonly origins: ResolvedSettings['origins'];
  readonly outline: Outline;
  /** Tells of what works, but badly. */
  warn(message: string): void;
}

/** @throws KdSpecError `option-invalid` or `usage`, with advice that helps in that case */
export type Check = (context: CheckContext) => void;

// What the checks of several sections share

/** Whether the generalist is a model, or the logits beside features, and knows classes of which there are no examples. */
export function isMadeElsewhere(
  { dataset }: Pick<Settings, 'dataset'>,
  outline: Outline['dataset'],
): boolean {
  return dataset.model.onnx !== null || outline?.image?.logits !== undefined;
}

/** Whether there are bystanders, as far as it is known beforehand. */
export function mayHaveBystanders({ dataset }: Settings, outline: NonNullable<Outline['dataset']>): boolean {
  const { classes, modelClasses, isExact } = outline;
  if (dataset.bystanders !== null) return true;
  if (!isMadeElsewhere({ dataset }, outline) || dataset.holdOut === 0) return false;
  if (!isExact || classes === null || modelClasses === null) return true;
  return classes < modelClasses && heldOutCount(classes, dataset.holdOut) > 0;
}

/** Normalisation by the statistics of a batch cannot learn from one image. */
export function checkBatch(flag: string, size: number, normalisation: 'batch' | 'none', other: string): void {
  if (size > 1 || normalisation === 'none') return;
  throw invalid(
    `${flag} 1: batch normalisation needs at least 2 images a step: give ${flag} 2 or more, or ${other}`,
  );
}

/** What a data set holds, in a word: rows of features are no images. */
export function examplesOf(outline: Outline, number = 2): string {
  const word = outline.dataset?.image?.isFeatures ? 'row' : 'image';
  return number === 1 ? word : `${word}s`;
}

export function needImages(outline: Outline, split: 'train' | 'validation' | 'test', use: string): void {
  const { images, isExact, source } = outline.dataset ?? {};
  const least = split === 'validation' ? 2 : 1; // calibration fits each half on the other
  if (!images || !isExact || images[split] >= least) return;
  const names = { train: 'training', validation: 'validation', test: 'test' };
  const advice =
    split === 'train'
      ? 'check the folder'
      : `give the source a part "${split}", more ${examplesOf(outline)} of each class, or a larger --${split}-fraction`;
  throw invalid(
    `${use} needs at least ${least} ${names[split]} ${examplesOf(outline, least)}, and ${source} has ${images[split]}: ${advice}`,
  );
}

/** Refuses flags of this command that would change nothing; what a file or the environment says for others stays. */
export function ignored(
  origins: ReadonlyMap<string, Origin>,
  isIgnored: boolean,
  reasons: Readonly<Record<string, string>>,
): void {
  if (!isIgnored) return;
  for (const [key, reason] of Object.entries(reasons)) {
    const origin = origins.get(key);
    if (origin?.kind === 'flag') throw invalid(`${origin.where} would do nothing: ${reason}`);
  }
}

export function flagOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

export function invalid(message: string): KdSpecError {
  return new KdSpecError('option-invalid', message);
}

/** The refusal of a file whose specialists were calibrated for the last layer that it has. */
export function patchedBefore(path: string): KdSpecError {
  return invalid(
    `${path}: --refit-share is for a model as it was trained, and this file was patched before: patch the model itself, or ` +
      'leave it out',
  );
}

/** What helps where a `--group` leaves too little for validation or the test. */
export function groupAdvice(group: string): string {
  return (
    `--group "${group}" keeps each group on one side: if one group holds most images, name a key of smaller groups or leave ` +
    '--group out'
  );
}
