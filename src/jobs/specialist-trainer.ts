import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { selectBackend } from '../compute/backend.js';
import { beginArtefact, commitArtefact, recoverArtefact, suspendArtefact } from '../core/artefact-writer.js';
import { KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { type Log, silentLog } from '../core/log.js';
import { packageVersion } from '../core/package.js';
import { WorkspaceLock } from '../core/workspace-lock.js';
import { openDataset } from '../data/dataset.js';
import { specialistTrial } from '../ensemble/specialist/specialist-trial.js';
import { trainSpecialist } from '../ensemble/specialist/train-specialist.js';
import { loadGeneralist, readDefinition } from '../models/checkpoint.js';
import { atSpecialist } from './engine.js';
import { failuresFolder, forgetFailure, readWork, writeFailure } from './jobs-folder.js';
import {
  findFinished,
  type SpecialistOutcome,
  type SpecialistWork,
  specialistIdentity,
} from './specialist-work.js';

/**
 * A worker without a pool stops within a step, or after ten seconds wherever it is. Of one on a machine that is gone
 * it takes most of a minute to be sure.
 */
const patienceSeconds = 60;

/** The unit of work, with what all specialists share held open. */
export interface SpecialistTrainer {
  /** Trains the specialist of a subset, by its position in the list. */
  train(
    position: number,
    options: { readonly log: Log; readonly signal: AbortSignal },
  ): Promise<SpecialistOutcome>;
  dispose(): void;
}

/**
 * Opens what all specialists share, for the unit of work: train specialist m.
 *
 * The unit is idempotent and leaves an artefact or an unfinished training that the next call continues. Its result depends
 * neither on the engine nor on the order; two processes never train the same specialist at a time.
 */
export async function openSpecialistTrainer(work: SpecialistWork): Promise<SpecialistTrainer> {
  const trial = specialistTrial(await readDefinition(work.generalist), work.subsets, work.training, {
    inParallel: false,
  });
  const { name: backend, operations } = await selectBackend(work.backend, { trial });
  const generalist = await loadGeneralist(work.generalist, operations, { withBackbone: false });
  const dataset = await openDataset(work.dataset);
  const labelCounts = Int32Array.from(work.labelCounts);
  const collector = letGarbageGrow();

  const train: SpecialistTrainer['train'] = async (position, { log, signal }) => {
    const subset = work.subsets[position];
    const name = String(subset.id);
    const identity = specialistIdentity(work, position);
    await using lock = await lockSpecialist(work.directory, name);
    await recoverArtefact(work.directory, name);
    if (await findFinished(work, position)) return { id: subset.id, seconds: 0, wasDone: true };

    const { directory, startedAt, seconds: before } = await beginArtefact(work.directory, name, identity);
    const startedMs = performance.now();
    const elapsed = () => before + (performance.now() - startedMs) / 1000;
    try {
      const { config, loss, seconds, flops } = await trainSpecialist(
        { subset, generalist, dataset, labelCounts, features: work.features },
        work.training,
        { directory, log, signal: AbortSignal.any([signal, lock.lost]) },
      );
      await commitArtefact(work.directory, {
        stage: name,
        kdSpecVersion: packageVersion(),
        ...identity,
        backend,
        metrics: {
          loss,
          dustbinCorrection: config.dustbin.correction,
          firstDivergence: config.firstDivergence,
          trainingFlops: flops,
        },
        startedAt,
        finishedAt: new Date().toISOString(),
        seconds: elapsed(),
      });
      return { id: subset.id, seconds, wasDone: false };
    } catch (error) {
      await suspendArtefact(work.directory, name, identity, { startedAt, seconds: elapsed() }).catch(
        () => {},
      );
      throw asFileError(error, directory);
    }
  };
  return {
    train,
    dispose: () => {
      generalist.dispose();
      collector.restore();
    },
  };
}

/**
 * Waits for a process that still trains this specialist: a worker that outlived a killed pool, and is about to write
 * its checkpoint and go.
 *
 * @throws KdSpecError `workspace-busy` when it does not go
 */
async function lockSpecialist(directory: string, name: string): Promise<WorkspaceLock> {
  const folder = join(directory, '.partial', `${name}.lock`);
  const deadlineMs = performance.now() + 1000 * patienceSeconds;
  while (true) {
    try {
      return await WorkspaceLock.acquire(folder);
    } catch (error) {
      const isBusy = error instanceof KdSpecError && error.code === 'workspace-busy';
      if (!isBusy || performance.now() > deadlineMs) throw error;
      await wait(200);
    }
  }
}

/**
 * The unit of work as a program: trains the specialist at a position of the work that lies in a folder.
 *
 * A failure is also written into the folder, for a coordinator that is elsewhere.
 *
 * @throws KdSpecError `option-invalid` for a position that the work does not have; whatever the training throws
 */
export async function trainOne(
  folder: string,
  position: number,
  signal: AbortSignal,
): Promise<SpecialistOutcome> {
  const work = await readWork(folder);
  if (position >= work.subsets.length) {
    throw new KdSpecError(
      'option-invalid',
      `--position: expected an integer from 0 to ${work.subsets.length - 1}, got ${position}`,
    );
  }
  const failures = failuresFolder(folder, work);
  await forgetFailure(failures, position);
  try {
    const trainer = await openSpecialistTrainer(work);
    try {
      return await trainer.train(position, { log: silentLog, signal });
    } finally {
      trainer.dispose();
    }
  } catch (error) {
    const code = error instanceof KdSpecError ? error.code : null;
    const message = error instanceof Error ? error.message : String(error);
    if (code === 'interrupted') throw error;
    await writeFailure(failures, position, { code, message });
    throw atSpecialist(work.subsets[position].id, error);
  }
}

const growingPercent = 400; // of the live JavaScript heap
let holders = 0;

/**
 * Lets V8 collect garbage less often while specialists are trained, which is set for the whole process.
 *
 * A training has little on the JavaScript heap, about 30 MB, and a few large buffers beside it, which come and go, and
 * which V8 counts as growth of that heap. On the Han benchmark seven specialists had 38 full collections, in several
 * threads, and have 8 with this, start included; it took processor time from 2.2 to 2.0 s a specialist. Cost: garbage
 * of up to four times the live heap.
 *
 * @returns `restore`, which gives the choice back to V8 when the last holder has called it
 */
function letGarbageGrow(): { restore(): void } {
  if (holders++ === 0) setFlagsFromString(`--heap-growing-percent=${growingPercent}`);
  let isHeld = true;
  return {
    restore() {
      if (isHeld && --holders === 0) setFlagsFromString('--heap-growing-percent=0');
      isHeld = false;
    },
  };
}
