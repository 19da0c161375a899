import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeJsonAtomically } from '../../core/atomic-file.js';
import { KdSpecError } from '../../core/errors.js';
import { systemErrorCode } from '../../core/file-error.js';

const arraySchema = z.object({
  /** Unique: by it an array is found whose number was lost. */
  name: z.string(),
  /** Slurm's number; null between the decision to submit and sbatch's answer. */
  jobId: z.string().regex(/^\d+$/).nullable(),
  /** The position that each task trains, by the task's number. */
  positions: z.array(z.int().nonnegative()),
  submittedAt: z.string(),
});
const stateSchema = z.object({ work: z.string(), arrays: z.array(arraySchema) });

/** One job array. */
export type SlurmArray = Readonly<z.infer<typeof arraySchema>>;

/** What was submitted for some work, named by its digest. Lies in the workspace, for whoever shares it. */
export interface SlurmState {
  readonly work: string;
  readonly arrays: readonly SlurmArray[];
}

const statePath = (folder: string) => join(folder, 'slurm.json');

/** Where Slurm writes what a task says; by default for all tasks: %A is the array's number, %a the task's. */
export function jobLogPath(folder: string, task = '%A_%a'): string {
  return join(folder, 'logs', `${task}.log`);
}

/**
 * Reads what was submitted.
 *
 * @returns undefined when nothing was
 * @throws KdSpecError `artefact-corrupt`
 */
export async function readSlurmState(folder: string): Promise<SlurmState | undefined> {
  const path = statePath(folder);
  try {
    return stateSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw new KdSpecError(
      'artefact-corrupt',
      `${path} is not a list of submitted jobs: see with squeue which run, end them, and delete the file`,
      { cause: error },
    );
  }
}

export async function writeSlurmState(folder: string, { work, arrays }: SlurmState): Promise<void> {
  await writeJsonAtomically(statePath(folder), {
    work,
    arrays: arrays.map((array) => ({ ...array, positions: [...array.positions] })),
  });
}
