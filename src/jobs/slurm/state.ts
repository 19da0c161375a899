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
  /** Where it was submitted, by Slurm's word; until that is known, where it was to be; null: the cluster of this machine. */
  cluster: z.string().nullable().default(null),
  /** The position that each task trains, by the task's number. */
  positions: z.array(z.int().nonnegative()),
  submittedAt: z.string(),
});
const stateSchema = z.object({ work: z.string(), arrays: z.array(arraySchema) });

/** One job array. */
export type SlurmArray = Readonly<z.infer<typeof arraySchema>>;

/** What was submitted for some work, named by its digest. Lies in the workspace, for every process that shares it. */
export interface SlurmState {
  readonly work: string;
  readonly arrays: readonly SlurmArray[];
}

/** An array for a person and for Slurm's commands, as `sbatch --parsable` prints it: `12`, or `12;cluster`. */
export function arrayLabels({ arrays }: SlurmState): readonly string[] {
  return arrays.flatMap(({ jobId, cluster }) =>
    jobId === null ? [] : [cluster === null ? jobId : `${jobId};${cluster}`],
  );
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
