import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import type { Log, Progress } from '../core/log.js';
import { type Engine, type JobEvent, type JobProgress, type Jobs, maxRetries } from './engine.js';
import { collect, type SpecialistOutcome, type SpecialistWork } from './specialist-work.js';

/** A specialist that could not be trained, and why. */
export interface SpecialistFailure {
  readonly id: number;
  readonly reason: string;
  /** The file that tells more, where there is one: what its job printed, or the metrics of its training. */
  readonly log?: string;
  /** Whether another try with the same settings would end in the same way. */
  readonly isFinal?: boolean;
}

/** What became of all specialists of a work. */
export interface TrainedSpecialists {
  readonly done: readonly SpecialistOutcome[];
  readonly failed: readonly SpecialistFailure[];
}

/**
 * Has an engine train the specialists that are missing, and waits for them.
 *
 * A job that was lost is tried again after a pause that doubles, {@link maxRetries} times; the others go on meanwhile.
 *
 * @param options.backOffMs before the first retry of a specialist
 * @throws KdSpecError `specialists-stopped` when `signal` aborts or somebody stopped jobs, after their checkpoints;
 * jobs that outlive this process are left to go on. `interrupted` when a job ended without its checkpoint meanwhile.
 * Whatever the engine says that breaks the work.
 */
export async function trainMissing(
  engine: Engine,
  work: SpecialistWork,
  {
    log,
    signal,
    backOffMs = 1000,
  }: {
    readonly log: Log;
    readonly signal: AbortSignal;
    readonly backOffMs?: number;
  },
): Promise<TrainedSpecialists> {
  const collected = await collect(work);
  const total = work.subsets.length;
  const done = [...collected.done];
  const failed: SpecialistFailure[] = [];
  const open = new Set(collected.missing); // neither done nor given up
  const losses = new Map<number, number>();
  let stopped = 0;
  let unsaved = 0; // jobs that ended by themselves when they were to stop
  let jobs: Jobs | undefined;
  if (signal.aborted && open.size > 0) throw interruption();

  const progress = log.progress('specialists', total);
  const finish = settled();
  const retries = new Set<NodeJS.Timeout>();
  const bars = new Map<number, Progress>(); // one for each job that tells how far it is

  function show(position: number, { done: steps, total, note }: JobProgress): void {
    const { id } = work.subsets[position];
    const bar = bars.get(position) ?? log.progress(`specialist ${id}`, total, { isPassing: true });
    bars.set(position, bar);
    bar.update(steps, note);
  }

  function hide(position: number): void {
    bars.get(position)?.finish();
    bars.delete(position);
  }

  function close(position: number): void {
    open.delete(position);
    progress.update(done.length + failed.length, describeProgress({ done, failed }));
    if (open.size === 0) finish.resolve();
  }

  function retry(position: number, reason: string, count: number): void {
    const pauseMs = backOffMs * 2 ** (count - 1);
    const { id } = work.subsets[position];
    log.warn(`specialist ${id}: ${reason}; trying again`);
    const timer = setTimeout(() => {
      retries.delete(timer);
      jobs?.submit([position]).catch(finish.reject);
    }, pauseMs);
    retries.add(timer);
  }

  function listener(event: JobEvent): void {
    if (event.kind === 'broken') finish.reject(event.error);
    if (event.kind === 'progress') show(event.position, event);
    if (event.kind === 'ended') hide(event.position);
    if (event.kind !== 'ended' || !open.has(event.position)) return;
    const { position, end } = event;
    const { id } = work.subsets[position];
    if (end.kind === 'lost') {
      const count = (losses.get(position) ?? 0) + 1;
      losses.set(position, count);
      if (count <= maxRetries && !signal.aborted) {
        retry(position, end.reason, count);
        return;
      }
      if (signal.aborted) unsaved++;
      else {
        const reason = `lost ${count} times, the last time because ${end.reason}`;
        failed.push({ id, reason, ...logOf(work, position, end) });
      }
    }
    if (end.kind === 'done') done.push(end.outcome);
    if (end.kind === 'failed') {
      failed.push({ id, reason: end.reason, isFinal: true, ...logOf(work, position, end) });
    }
    if (end.kind === 'stopped') stopped++;
    close(position);
  }

  function interruption(): KdSpecError {
    const goOn =
      engine.outlivesCoordinator && jobs
        ? '; the jobs continue, and kd-spec jobs follows or cancels them'
        : '';
    const code = unsaved > 0 ? 'interrupted' : 'specialists-stopped';
    const without =
      unsaved > 0 ? `; ${unsaved} ended without a last checkpoint and will continue from the one before` : '';
    return new KdSpecError(code, `stopped with ${done.length} of ${total} specialists done${without}${goOn}`);
  }

  const onAbort = () => finish.reject(interruption());
  signal.addEventListener('abort', onAbort);
  try {
    if (open.size > 0) {
      jobs = await engine.open(work, { log, listener });
      await jobs.submit(collected.missing);
      if (signal.aborted) onAbort();
      await finish.promise;
    }
  } catch (error) {
    if (jobs && !engine.outlivesCoordinator) await jobs.cancel();
    // What was finished in the meantime counts.
    throw signal.aborted ? interruption() : error;
  } finally {
    signal.removeEventListener('abort', onAbort);
    for (const timer of retries) clearTimeout(timer);
    await jobs?.[Symbol.asyncDispose]();
  }
  progress.finish(describeProgress({ done, failed }));
  if (stopped + unsaved > 0) throw interruption();
  return { done, failed };
}

/** The log that an engine named, or the metrics of the unfinished training. */
function logOf(
  { directory, subsets }: SpecialistWork,
  position: number,
  { log }: { readonly log?: string },
): { readonly log?: string } {
  const metrics = join(directory, '.partial', String(subsets[position].id), 'metrics.jsonl');
  if (log !== undefined) return { log };
  return existsSync(metrics) ? { log: metrics } : {};
}

/** The specialists that failed, one after the other: why, where more is told, and what to do next. */
export function describeFailures(failed: readonly SpecialistFailure[]): string {
  const lines = failed.flatMap(({ id, reason, log }) => [
    `  specialist ${id}: ${reason}`,
    ...(log === undefined ? [] : [`    its log: ${log}`]),
  ]);
  const hopeless = failed.filter(({ isFinal }) => isFinal).map(({ id }) => id);
  if (hopeless.length === 0) return lines.join('\n');
  const whose = hopeless.length === failed.length ? 'these' : `specialists ${hopeless.join(', ')}`;
  return [...lines, `  with the same settings ${whose} will fail again: change what the reason names`].join(
    '\n',
  );
}

/** How far the work is, as a note for its progress bar. */
function describeProgress({ done, failed }: TrainedSpecialists): string {
  const earlier = done.filter(({ wasDone }) => wasDone).length;
  return [
    `${done.length - earlier} trained`,
    ...(earlier > 0 ? [`${earlier} done before`] : []),
    ...(failed.length > 0 ? [`${failed.length} failed`] : []),
  ].join(', ');
}

/** A promise and what settles it. */
function settled() {
  let resolve: () => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<void>((whenDone, whenBroken) => {
    resolve = whenDone;
    reject = whenBroken;
  });
  promise.catch(() => {}); // it may be settled before anybody waits for it
  return { promise, resolve, reject };
}

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
      'kd-spec jobs follow waits for them, kd-spec jobs show shows their state, and the same command run again ' +
      'uses their results',
  );
}
