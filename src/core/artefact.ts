import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { KdSpecError } from './errors.js';
import { withFileErrors } from './file-error.js';
import { damageOf, digestOf, type FileHash } from './file-hashes.js';
import type { JsonObject } from './json.js';
import { schemaProblem } from './schema-problem.js';

/**
 * An artefact is what a stage leaves behind: a folder with its output files and `manifest.json`, which says how
 * they came about. It is whole if the manifest is there, because the manifest is written last; a stage whose
 * folder has none is not done.
 */
export const manifestFile = 'manifest.json';
export const manifestVersion = 1;

export interface Manifest {
  readonly formatVersion: typeof manifestVersion;
  readonly stage: string;
  readonly kdSpecVersion: string;
  /** Every option of the stage as it was in force. */
  readonly parameters: JsonObject;
  readonly seed: number;
  /** The compute backend that did the work; null when none was needed. */
  readonly backend: string | null;
  /** The digest of each input artefact by its stage, and the sha256 of each input file by its option. */
  readonly inputs: Readonly<Record<string, string>>;
  readonly files: readonly FileHash[];
  /** {@link digestOf} the files. */
  readonly digest: string;
  readonly metrics: JsonObject;
  readonly startedAt: string;
  readonly finishedAt: string;
  /** Time at work, over all sittings. */
  readonly seconds: number;
}

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const jsonObject = z.custom<JsonObject>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'expected an object',
);
const relativePath = z
  .string()
  .min(1)
  .refine(
    (path) => !path.split('/').some((part) => part === '' || part === '..'),
    'expected a path inside the artefact',
  );

const manifestSchema = z.object({
  formatVersion: z.literal(manifestVersion),
  stage: z.string(),
  kdSpecVersion: z.string(),
  parameters: jsonObject,
  seed: z.number(),
  backend: z.string().nullable(),
  inputs: z.record(z.string(), sha256),
  files: z.array(
    z.object({
      path: relativePath,
      bytes: z.int().nonnegative(),
      sha256,
      modifiedMs: z.number().optional(),
    }),
  ),
  digest: sha256,
  metrics: jsonObject,
  startedAt: z.string(),
  finishedAt: z.string(),
  seconds: z.number().nonnegative(),
});

/**
 * The manifest of an artefact.
 *
 * @param folder the artefact's folder
 * @throws KdSpecError `not-found` when there is no artefact; `artefact-corrupt` when the manifest is not one
 */
export async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, manifestFile);
  const text = await withFileErrors(path, () => readFile(path, 'utf8'));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw corrupt(path, `expected JSON, got ${text.length} characters that are not`, { cause });
  }
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) throw corrupt(path, schemaProblem(value, parsed.error));
  if (digestOf(parsed.data.files) !== parsed.data.digest) {
    throw corrupt(path, 'the digest is not that of the files it lists');
  }
  return parsed.data;
}

/** {@link readManifest}, but undefined when there is no artefact. */
export async function findManifest(folder: string): Promise<Manifest | undefined> {
  try {
    return await readManifest(folder);
  } catch (error) {
    if (error instanceof KdSpecError && error.code === 'not-found') return undefined;
    throw error;
  }
}

/**
 * Reads every file of an artefact again and compares it with the manifest.
 *
 * @internal A check of workspaces by tests and by `scripts/reliability/`; a run reads only what was touched.
 * @throws KdSpecError `artefact-corrupt` naming the first file that differs, and how
 */
export async function verifyArtefact(folder: string): Promise<Manifest> {
  const manifest = await readManifest(folder);
  const damage = await damageOf(folder, manifest.files, { read: 'all' });
  if (damage !== undefined) throw corrupt(folder, damage);
  return manifest;
}

/**
 * What is wrong with an artefact's files, found out without reading those that nobody touched.
 *
 * @returns one sentence, or undefined when nothing is
 */
export async function findDamage(folder: string, manifest: Manifest): Promise<string | undefined> {
  return damageOf(folder, manifest.files, { read: 'touched' });
}

function corrupt(path: string, what: string, options?: { cause: unknown }): KdSpecError {
  return new KdSpecError(
    'artefact-corrupt',
    `${path}: ${what}. Delete the folder of this artefact; the next run makes it again`,
    options,
  );
}
