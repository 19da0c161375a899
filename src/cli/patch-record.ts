import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomically } from '../core/atomic-file.js';
import { KdSpecError } from '../core/errors.js';
import { asFileError, systemErrorCode } from '../core/file-error.js';
import { schemaProblem } from '../core/schema-problem.js';
import { ensembleKey } from '../evaluation/first-classes.js';
import { type PatchRecord, patchRecordSchema } from '../models/onnx/exported-metadata.js';

// What the last patch of a workspace did, so that every other export of the same ensemble says it, too.

const fileName = 'patch.json';
const fileSchema = z.strictObject({
  /** Of the ensemble that was measured, see `ensembleKey`. */
  ensemble: z.string(),
  patch: patchRecordSchema,
});

/** Keeps what a patch did beside the ensemble that it was measured on. */
export async function keepPatchRecord(
  workspace: string,
  ensemble: string,
  patch: PatchRecord,
): Promise<void> {
  await writeFileAtomically(join(workspace, fileName), `${JSON.stringify({ ensemble, patch }, null, 2)}\n`);
}

/**
 * What the last patch of a workspace did.
 *
 * @returns undefined where none was made, or of another ensemble than the workspace has now
 * @throws KdSpecError `checkpoint-invalid` for a damaged file
 */
export async function readPatchRecord(workspace: string): Promise<PatchRecord | undefined> {
  const path = join(workspace, fileName);
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw asFileError(error, path);
  });
  if (text === undefined) return undefined;
  const problem = (what: string) =>
    new KdSpecError('checkpoint-invalid', `${path}: ${what}; remove it, or patch again`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw problem('expected JSON');
  }
  const { data, error } = fileSchema.safeParse(value);
  if (!data) throw problem(schemaProblem(value, error));
  return data.ensemble === (await ensembleKey(workspace)) ? data.patch : undefined;
}
