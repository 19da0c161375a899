import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve } from 'node:path';
import { z } from 'zod';
import { writeJsonAtomically } from '../core/atomic-file.js';
import { KdSpecError } from '../core/errors.js';
import { systemErrorCode, withFileErrors } from '../core/file-error.js';
import { canonicalJson, type JsonObject } from '../core/json.js';
import type { SpecialistWork } from './specialist-work.js';

/** The folder of a workspace that holds what jobs and whoever looks after them share. */
export function jobsFolder(workspace: string): string {
  return join(workspace, '.jobs');
}

const workPath = (folder: string) => join(folder, 'work.json');
const count = z.int().nonnegative();
const text = z.string().min(1);

const workSchema = z.strictObject({
  directory: text,
  generalist: text,
  dataset: text,
  inputs: z.record(z.string(), z.string()),
  subsets: z.array(z.object({ id: count, classes: z.array(count) })),
  labelCounts: z.array(count),
  features: z.strictObject({ folder: text, views: count }).optional(),
  // Written by this version of kd-spec from settings that were checked.
  training: z.custom<SpecialistWork['training']>((value) => typeof value === 'object' && value !== null),
  backend: z.enum(['auto', 'wasm', 'tensorflow', 'tensorflow-gpu']),
});

/** What decides what specialists come out: the same wherever the workspace lies. */
export function workDigest(work: SpecialistWork): string {
  const {
    directory: _directory,
    generalist: _generalist,
    dataset: _dataset,
    features: _features,
    ...decisive
  } = work;
  return createHash('sha256')
    .update(canonicalJson(decisive as unknown as JsonObject))
    .digest('hex');
}

/**
 * Writes some work where jobs find it. Paths in it are relative, so that machines may mount the workspace at
 * different places.
 *
 * @param folder {@link jobsFolder}
 */
export async function writeWork(folder: string, work: SpecialistWork): Promise<void> {
  const shared = mapPaths(work, (path) => relative(folder, path));
  await writeJsonAtomically(workPath(folder), shared as unknown as JsonObject);
}

/**
 * Reads what {@link writeWork} wrote.
 *
 * @throws KdSpecError `not-found` when nothing was submitted from this workspace; `artefact-corrupt`
 */
export async function readWork(folder: string): Promise<SpecialistWork> {
  const path = workPath(folder);
  try {
    const work: SpecialistWork = workSchema.parse(JSON.parse(await readFile(path, 'utf8')));
    return mapPaths(work, (shared) => (isAbsolute(shared) ? shared : resolve(folder, shared)));
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') {
      throw new KdSpecError(
        'not-found',
        `expected jobs of this workspace, found no ${path}: kd-spec train-specialists --engine slurm submits some`,
      );
    }
    if (systemErrorCode(error) !== undefined) return withFileErrors(path, () => Promise.reject(error));
    throw new KdSpecError('artefact-corrupt', `${path} is damaged: run kd-spec train-specialists again`, {
      cause: error,
    });
  }
}

function mapPaths(work: SpecialistWork, map: (path: string) => string): SpecialistWork {
  const { directory, generalist, dataset, features, ...rest } = work;
  return {
    ...rest,
    directory: map(directory),
    generalist: map(generalist),
    dataset: map(dataset),
    ...(features === undefined ? {} : { features: { ...features, folder: map(features.folder) } }),
  };
}
