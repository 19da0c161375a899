import { KdSpecError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { collect } from './collect.js';
import type { Engine } from './engine.js';
import type { SpecialistWork } from './specialist-work.js';

/**
 * Submits the specialists that are missing to an engine whose jobs outlive this process, and does not wait.
 *
 * Returns only when none is missing.
 *
 * @throws KdSpecError `jobs-under-way` when some were submitted, or are under way from before
 */
export async function submitMissing(
  engine: Engine,
  work: SpecialistWork,
  { log, signal }: { readonly log: Log; readonly signal: AbortSignal },
): Promise<void> {
  const { done, missing } = await collect(work);
  if (missing.length === 0) return;
  if (signal.aborted) throw new KdSpecError('interrupted', 'stopped before anything was submitted');
  await using jobs = await engine.open(work, { log, listener: () => {} });
  await jobs.submit(missing);
  throw new KdSpecError(
    'jobs-under-way',
    `${done.length} of ${work.subsets.length} specialists are done and the others are with ${engine.name}: ` +
      'kd-spec jobs follow waits for them, kd-spec jobs show tells how far they are, and the same command again ' +
      'goes on with what they made',
  );
}
