import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve } from 'node:path';
import { z } from 'zod';
import { backendNames } from '../compute/backend.js';
import { writeJsonAtomically } from '../core/atomic-file.js';
import { type ErrorCode, KdSpecError } from '../core/errors.js';
import { systemErrorCode, withFileErrors } from '../core/file-error.js';
import { canonicalJson, type JsonObject } from '../core/json.js';
import { isOwnFailure, type JobEnd } from './engine.js';
import type { SpecialistWork } from './specialist-work.js';

/** The folder of a workspace that holds what jobs and their coordinator share. */
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
  backend: z.enum(backendNames),
});

type Decisive = Omit<SpecialistWork, 'directory' | 'generalist' | 'dataset' | 'features'>;

/** What decides what specialists come out: the same wherever the workspace lies. */
export function workDigest(work: SpecialistWork): string {
  return createHash('sha256')
    .update(canonicalJson(asJson(work)))
    .digest('hex');
}

/**
 * Writes some work where jobs find it. Paths in it are relative, so that machines may mount the workspace at
 * different places.
 *
 * @param folder {@link jobsFolder}
 */
export async function writeWork(folder: string, work: SpecialistWork): Promise<void> {
  const { directory, generalist, dataset, features, ...decisive } = mapPaths(work, (path) =>
    relative(folder, path),
  );
  await writeJsonAtomically(workPath(folder), {
    directory,
    generalist,
    dataset,
    ...(features === undefined ? {} : { features: { ...features } }),
    ...asJson(decisive),
  });
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

/** What decides what specialists come out, as JSON. */
function asJson({ inputs, subsets, labelCounts, training, backend }: Decisive): JsonObject {
  return {
    inputs,
    subsets: subsets.map((subset) => ({ ...subset })),
    labelCounts,
    training: { ...training },
    backend,
  };
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
