import { KdSpecError } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import { failuresFolder, forgetFailure, writeFailure } from './failure-file.js';
import { openSpecialistTrainer } from './specialist-trainer.js';
import type { SpecialistOutcome } from './specialist-work.js';
import { readWork } from './work-file.js';

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
    if (code !== 'interrupted') await writeFailure(failures, position, { code, message });
    throw error;
  }
}
