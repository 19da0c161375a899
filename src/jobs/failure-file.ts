import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeJsonAtomically } from '../core/atomic-file.js';
import type { ErrorCode } from '../core/errors.js';
import { isOwnFailure, type JobEnd } from './engine.js';
import type { SpecialistWork } from './specialist-work.js';
import { workDigest } from './work-file.js';

const failureSchema = z.object({ code: z.string().nullable(), message: z.string() });
const failurePath = (failures: string, position: number) => join(failures, `${position}.json`);

/**
 * Where the jobs of some work leave why they failed, for a coordinator on another machine. Jobs of earlier settings
 * that still run have a place of their own, and so their failures are not taken for those of this work.
 *
 * @param folder the workspace's jobsFolder
 */
export function failuresFolder(folder: string, work: SpecialistWork): string {
  return join(folder, 'failures', workDigest(work).slice(0, 16));
}

/** Leaves why a job failed. */
export async function writeFailure(
  failures: string,
  position: number,
  { code, message }: { readonly code: string | null; readonly message: string },
): Promise<void> {
  await writeJsonAtomically(failurePath(failures, position), { code, message });
}

/** How a job says that it failed; undefined when it could not say it, or when its file is torn. */
export async function readFailure(failures: string, position: number): Promise<JobEnd | undefined> {
  try {
    const text = await readFile(failurePath(failures, position), 'utf8');
    const { code, message } = failureSchema.parse(JSON.parse(text));
    return { kind: isOwnFailure(code as ErrorCode) ? 'failed' : 'lost', reason: message };
  } catch {
    return undefined;
  }
}

/** Forgets an earlier failure, before another try. */
export async function forgetFailure(failures: string, position: number): Promise<void> {
  await rm(failurePath(failures, position), { force: true });
}
