import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeJsonAtomically } from '../core/atomic-file.js';
import type { ErrorCode } from '../core/errors.js';
import { isOwnFailure, type JobEnd } from './engine.js';

const failureSchema = z.object({ code: z.string().nullable(), message: z.string() });
const failurePath = (folder: string, position: number) => join(folder, 'failures', `${position}.json`);

/** Leaves for the coordinator, which is on another machine, why a job failed. */
export async function writeFailure(
  folder: string,
  position: number,
  { code, message }: { readonly code: string | null; readonly message: string },
): Promise<void> {
  await writeJsonAtomically(failurePath(folder, position), { code, message });
}

/** How a job says that it failed; undefined when it could not say it, or when its file is torn. */
export async function readFailure(folder: string, position: number): Promise<JobEnd | undefined> {
  try {
    const text = await readFile(failurePath(folder, position), 'utf8');
    const { code, message } = failureSchema.parse(JSON.parse(text));
    return { kind: isOwnFailure(code as ErrorCode) ? 'failed' : 'lost', reason: message };
  } catch {
    return undefined;
  }
}

/** Forgets an earlier failure, before another try. */
export async function forgetFailure(folder: string, position: number): Promise<void> {
  await rm(failurePath(folder, position), { force: true });
}
