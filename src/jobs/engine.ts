import type { ErrorCode } from '../core/errors.js';
import type { Log } from '../core/log.js';
import type { SpecialistOutcome, SpecialistWork } from './specialist-trainer.js';

/** A specialist that could not be trained, and why. */
export interface SpecialistFailure {
  readonly id: number;
  readonly reason: string;
}

/** What an engine leaves behind when it returns. */
export interface EngineResult {
  readonly done: readonly SpecialistOutcome[];
  readonly failed: readonly SpecialistFailure[];
}

/**
 * Who trains the specialists. Every engine runs the same unit of work and leaves the same artefacts.
 *
 * @throws KdSpecError `interrupted` when `signal` aborts, after every running training has written its checkpoint
 */
export type Engine = (
  work: SpecialistWork,
  options: { readonly log: Log; readonly signal: AbortSignal },
) => Promise<EngineResult>;

/** Whether an error concerns one specialist alone, so that the others go on; any other stops the engine. */
export function isOwnFailure(code: ErrorCode | undefined): boolean {
  return code === 'training-diverged' || code === 'subsets-invalid';
}

/** How far an engine is, as a note for its progress bar. */
export function describeProgress({ done, failed }: EngineResult): string {
  const earlier = done.filter(({ wasDone }) => wasDone).length;
  return [
    `${done.length - earlier} trained`,
    ...(earlier > 0 ? [`${earlier} done before`] : []),
    ...(failed.length > 0 ? [`${failed.length} failed`] : []),
  ].join(', ');
}
