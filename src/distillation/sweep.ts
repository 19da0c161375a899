import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeJsonAtomically } from '../core/atomic-file.js';
import { assert } from '../core/errors.js';
import { type Network, networkValues } from '../models/network.js';
import { writeSafetensors } from '../models/safetensors.js';
import type { SplitAccuracy } from './split-accuracy.js';
import type { StudentObjective } from './student-objective.js';
import type { EpochAccuracy, TrainedStudent } from './train-student.js';

/** What one student of a sweep came to; a type, not an interface, so that it is JSON. */
export type CandidateResult = {
  readonly temperature: number;
  readonly hardWeight: number;
  readonly loss: number;
  readonly steps: number;
  readonly trainingSeconds: number;
  /** The epoch whose weights were kept. */
  readonly epoch: number;
  readonly validation: SplitAccuracy;
  readonly curve: readonly { readonly [Key in keyof EpochAccuracy]: EpochAccuracy[Key] }[];
};

const resultFile = 'result.json';
const modelFile = 'model.safetensors';

/**
 * Trains a student for each objective; those that an interrupted run finished are kept.
 *
 * @param directory gets a folder for each, `t<temperature>-w<weight>`
 * @param trainOne trains one in its folder
 * @param validate measures a trained one
 * @returns all results, and the folder of the best on validation: of equal ones the first
 */
export async function runSweep(
  directory: string,
  objectives: readonly StudentObjective[],
  trainOne: (folder: string, objective: StudentObjective) => Promise<TrainedStudent>,
  validate: (network: Network) => Promise<SplitAccuracy>,
): Promise<{ readonly results: readonly CandidateResult[]; readonly best: number; readonly model: string }> {
  const results: CandidateResult[] = [];
  const folders = objectives.map(({ temperature, hardWeight }) =>
    join(directory, `t${temperature}-w${hardWeight}`),
  );
  for (const [position, objective] of objectives.entries()) {
    const folder = folders[position];
    const training = join(folder, 'training');
    const finished = await readResult(folder);
    if (finished) {
      results.push(finished);
      continue;
    }
    await mkdir(training, { recursive: true });
    const { network, loss, steps, seconds, epoch, curve } = await trainOne(training, objective);
    try {
      const { temperature, hardWeight } = objective;
      const validation = await validate(network);
      const result: CandidateResult = {
        temperature,
        hardWeight,
        loss,
        steps,
        trainingSeconds: seconds,
        epoch,
        validation,
        curve,
      };
      await writeSafetensors(join(folder, modelFile), await networkValues(network));
      await writeJsonAtomically(join(folder, resultFile), result);
      results.push(result);
    } finally {
      network.dispose();
    }
    await rm(training, { recursive: true, force: true });
  }
  const best = results.reduce(
    (first, { validation }, index) => (validation.errors < results[first].validation.errors ? index : first),
    0,
  );
  assert(results.length > 0, 'a sweep over nothing');
  return { results, best, model: join(folders[best], modelFile) };
}

async function readResult(folder: string): Promise<CandidateResult | undefined> {
  try {
    return JSON.parse(await readFile(join(folder, resultFile), 'utf8'));
  } catch {
    return undefined;
  }
}
