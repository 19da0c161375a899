import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { flush } from '../core/atomic-file.js';
import { KdSpecError } from '../core/errors.js';
import { withFileErrors } from '../core/file-error.js';
import type { Log } from '../core/log.js';
import { sealDamage, sealFolder } from '../core/sealed-folder.js';
import { checkpointFiles, checkTensors } from '../models/checkpoint.js';
import { type Network, networkValues } from '../models/network.js';
import { type HostTensor, readSafetensors, writeSafetensors } from '../models/safetensors.js';
import { validationCourseSchema } from './early-stopping.js';
import type { Optimizer } from './optimizer.js';

/**
 * Where a training stands. All randomness of a step derives from the seed and the step's number, so that this
 * and the tensors are enough to continue to the same weights as a training that was never interrupted.
 */
const trainingStateSchema = z.strictObject({
  seed: z.number(),
  /** Steps done. */
  step: z.int().nonnegative(),
  stepsPerEpoch: z.int().positive(),
  /** Sum of the losses of the present epoch's steps. */
  epochLoss: z.number(),
  /** Seconds spent in training so far, over all sittings. */
  seconds: z.number().nonnegative(),
  /** Where early stopping looks at validation: what it found. */
  course: validationCourseSchema.exactOptional(),
});
export type TrainingState = z.infer<typeof trainingStateSchema>;

const keptCheckpoints = 2;
const checkpointName = /^step-\d{9}$/;

/** The folder in which a stage keeps its checkpoints while it trains. */
export function checkpointsFolder(directory: string): string {
  return join(directory, 'checkpoints');
}

/** Writes the tensors and the state of a training into a folder that exists. */
export async function writeTraining(
  folder: string,
  network: Network,
  optimizer: Optimizer,
  state: TrainingState,
): Promise<void> {
  optimizer.storeHead();
  await writeSafetensors(join(folder, checkpointFiles.model), await networkValues(network));
  await writeSafetensors(join(folder, checkpointFiles.optimizer), await optimizer.values());
  await writeFile(join(folder, checkpointFiles.state), `${JSON.stringify(state)}\n`);
}

/**
 * Saves a checkpoint: sealed beside its place, renamed into place, and all dropped but the last two and those that are
 * the best of their courses.
 *
 * @throws KdSpecError `disk-full` or `not-readable`; the earlier checkpoints are then untouched
 */
export async function saveCheckpoint(
  directory: string,
  network: Network,
  optimizer: Optimizer,
  state: TrainingState,
): Promise<void> {
  const parent = checkpointsFolder(directory);
  const place = join(parent, nameOf(state.step));
  const partial = `${place}.partial`;
  await withFileErrors(partial, async () => {
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    await writeTraining(partial, network, optimizer, state);
    await sealFolder(partial);
    await rm(place, { recursive: true, force: true });
    await rename(partial, place);
    await flush(parent);
    const names = await checkpointNames(parent);
    const kept = new Set(names.slice(-keptCheckpoints));
    for (const name of [...kept]) {
      const best = (await readState(join(parent, name)))?.course?.best;
      if (best) kept.add(nameOf(best.step));
    }
    for (const name of names) {
      if (!kept.has(name)) await rm(join(parent, name), { recursive: true, force: true });
    }
  });
}

/**
 * Puts the newest whole checkpoint back into the network and the optimiser.
 *
 * A damaged one is passed over for the one before, and dropped, so that it does not count as one of the last two.
 *
 * @returns its state, or undefined when there is none
 */
export async function restoreCheckpoint(
  directory: string,
  network: Network,
  optimizer: Optimizer,
  { log }: { log: Log },
): Promise<TrainingState | undefined> {
  const parent = checkpointsFolder(directory);
  for (const name of (await checkpointNames(parent)).reverse()) {
    const folder = join(parent, name);
    try {
      const { model, optimizer: moments, state } = await readCheckpoint(folder, network);
      network.assign(model);
      optimizer.restore(moments);
      return state;
    } catch (error) {
      if (!(error instanceof KdSpecError)) throw error;
      log.warn(`${error.message}; going on from the checkpoint before it, if there is one`);
      await rm(folder, { recursive: true, force: true });
    }
  }
  return undefined;
}

/**
 * Puts the checkpoint of a certain step back into the network and the optimiser.
 *
 * @returns its state
 * @throws KdSpecError `checkpoint-invalid` when it is damaged or missing
 */
export async function restoreStep(
  directory: string,
  step: number,
  network: Network,
  optimizer: Optimizer,
): Promise<TrainingState> {
  const {
    model,
    optimizer: moments,
    state,
  } = await readCheckpoint(join(checkpointsFolder(directory), nameOf(step)), network);
  network.assign(model);
  optimizer.restore(moments);
  return state;
}

interface Checkpoint {
  readonly model: ReadonlyMap<string, HostTensor>;
  readonly optimizer: ReadonlyMap<string, HostTensor>;
  readonly state: TrainingState;
}

async function readCheckpoint(folder: string, network: Network): Promise<Checkpoint> {
  const damage = await sealDamage(folder);
  if (damage !== undefined)
    throw new KdSpecError('checkpoint-invalid', `checkpoint ${folder} is damaged: ${damage}`);
  const modelPath = join(folder, checkpointFiles.model);
  const model = await readSafetensors(modelPath);
  checkTensors(modelPath, network.definition, model);
  const optimizer = await readSafetensors(join(folder, checkpointFiles.optimizer));
  const state = await readState(folder);
  if (!state) {
    const statePath = join(folder, checkpointFiles.state);
    throw new KdSpecError('checkpoint-invalid', `${statePath} is not the state of a training`);
  }
  return { model, optimizer, state };
}

async function readState(folder: string): Promise<TrainingState | undefined> {
  return trainingStateSchema.safeParse(await readJson(join(folder, checkpointFiles.state))).data;
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch {
    return undefined;
  }
}

function nameOf(step: number): string {
  return `step-${String(step).padStart(9, '0')}`;
}

async function checkpointNames(parent: string): Promise<string[]> {
  const names = await readdir(parent).catch(() => []);
  return names.filter((name) => checkpointName.test(name)).sort();
}
