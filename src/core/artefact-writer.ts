import { existsSync } from 'node:fs';
import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Manifest, manifestFile, manifestVersion } from './artefact.js';
import { dropLeftovers, flush, writeJsonAtomically } from './atomic-file.js';
import { withFileErrors } from './file-error.js';
import { digestOf, hashFiles } from './file-hashes.js';
import { canonicalJson, type JsonObject } from './json.js';
import { makeFolder } from './make-folder.js';
import { flushFolder } from './sealed-folder.js';

/**
 * How an artefact comes into its place. It is written into `<workspace>/.partial/<stage>`; when it is complete,
 * its manifest is added and the folder is renamed to `<workspace>/<stage>`. A complete older one is first moved
 * to `<workspace>/.partial/<stage>.old`, since no system call here exchanges two folders. Whatever moment a kill
 * chooses, a whole artefact exists in one of the three places, and {@link recoverArtefact} puts it back: the
 * manifest in the partial folder tells a complete one, so recovery rolls forward where it can.
 */
const partialsFolder = '.partial';

/** What decides the content of an artefact: an unfinished one is continued only if all of it is equal. */
export interface ArtefactIdentity {
  readonly parameters: JsonObject;
  readonly seed: number;
  readonly inputs: Readonly<Record<string, string>>;
}

export interface UnfinishedArtefact {
  /** The folder to write in. */
  readonly directory: string;
  /** `continued` keeps what an interrupted run of the same identity left; `discarded` dropped that of another. */
  readonly start: 'fresh' | 'continued' | 'discarded';
  /** Time that earlier sittings spent. */
  readonly seconds: number;
  readonly startedAt: string;
}

interface Sitting {
  readonly identity: string;
  readonly startedAt: string;
  readonly seconds: number;
}

/** The folder of a finished artefact. */
export function artefactFolder(workspace: string, stage: string): string {
  return join(workspace, stage);
}

const partialFolder = (workspace: string, stage: string) => join(workspace, partialsFolder, stage);
const replacedFolder = (workspace: string, stage: string) => `${partialFolder(workspace, stage)}.old`;
const sittingFile = (workspace: string, stage: string) => `${partialFolder(workspace, stage)}.json`;

/**
 * Opens the folder in which a stage writes its artefact.
 *
 * @param identity what decides the content; compared with that of an unfinished artefact
 * @param options.resume whether to continue an unfinished artefact of the same identity
 * @throws KdSpecError `not-readable` or `disk-full`
 */
export async function beginArtefact(
  workspace: string,
  stage: string,
  identity: ArtefactIdentity,
  { resume = true, now = () => new Date() }: { resume?: boolean; now?: () => Date } = {},
): Promise<UnfinishedArtefact> {
  const directory = partialFolder(workspace, stage);
  return withFileErrors(directory, async () => {
    const key = identityKey(identity);
    const earlier = await readSitting(workspace, stage);
    const exists = existsSync(directory);
    if (exists && resume && earlier?.identity === key) {
      return { directory, start: 'continued', seconds: earlier.seconds, startedAt: earlier.startedAt };
    }
    await discard(workspace, stage);
    const startedAt = now().toISOString();
    const sitting: Sitting = { identity: key, startedAt, seconds: 0 };
    await writeJsonAtomically(sittingFile(workspace, stage), { ...sitting });
    await makeFolder(directory);
    return { directory, start: exists ? 'discarded' : 'fresh', seconds: 0, startedAt };
  });
}

/** Whether an unfinished artefact of that identity waits to be continued. */
export async function isContinuable(
  workspace: string,
  stage: string,
  identity: ArtefactIdentity,
): Promise<boolean> {
  const sitting = await readSitting(workspace, stage);
  return sitting?.identity === identityKey(identity) && existsSync(partialFolder(workspace, stage));
}

/** Remembers, after an interruption, the time that was spent on an unfinished artefact. */
export async function suspendArtefact(
  workspace: string,
  stage: string,
  identity: ArtefactIdentity,
  { startedAt, seconds }: { startedAt: string; seconds: number },
): Promise<void> {
  const sitting: Sitting = { identity: identityKey(identity), startedAt, seconds };
  await writeJsonAtomically(sittingFile(workspace, stage), { ...sitting });
}

/** What a stage adds to the files it wrote. */
export type ManifestDraft = Omit<Manifest, 'formatVersion' | 'files' | 'digest'>;

/**
 * Completes an artefact: hashes and flushes its files, writes the manifest, and moves the folder into its place.
 *
 * @returns the manifest as written
 * @throws KdSpecError `disk-full` or `not-readable`; an older artefact is then untouched
 */
export async function commitArtefact(workspace: string, draft: ManifestDraft): Promise<Manifest> {
  const directory = partialFolder(workspace, draft.stage);
  return withFileErrors(directory, async () => {
    await dropLeftovers(directory, { recursive: true });
    const files = await hashFiles(directory, { except: manifestFile });
    await flushFolder(directory);
    const manifest: Manifest = { formatVersion: manifestVersion, ...draft, files, digest: digestOf(files) };
    await writeJsonAtomically(join(directory, manifestFile), {
      ...manifest,
      files: files.map((file) => ({ ...file })),
    });
    await moveIntoPlace(workspace, draft.stage);
    return manifest;
  });
}

/**
 * Finishes what a kill may have left between the manifest of a new artefact and its place.
 *
 * To be called, with the workspace locked, before its artefacts are looked at. Does nothing when all is well.
 */
export async function recoverArtefact(workspace: string, stage: string): Promise<void> {
  const place = artefactFolder(workspace, stage);
  const replaced = replacedFolder(workspace, stage);
  await withFileErrors(place, async () => {
    if (existsSync(join(partialFolder(workspace, stage), manifestFile))) {
      await moveIntoPlace(workspace, stage);
    } else if (existsSync(replaced)) {
      if (existsSync(join(place, manifestFile))) await rm(replaced, { recursive: true, force: true });
      else await rename(replaced, place);
    }
    // A kill right after the artefact came into its place, or before its folder was made.
    if (!existsSync(partialFolder(workspace, stage)))
      await rm(sittingFile(workspace, stage), { force: true });
  });
}

async function moveIntoPlace(workspace: string, stage: string): Promise<void> {
  const place = artefactFolder(workspace, stage);
  const replaced = replacedFolder(workspace, stage);
  if (existsSync(place)) {
    await rm(replaced, { recursive: true, force: true });
    await rename(place, replaced);
  }
  await rename(partialFolder(workspace, stage), place);
  await flush(workspace);
  await flush(join(workspace, partialsFolder));
  await rm(sittingFile(workspace, stage), { force: true });
  await rm(replaced, { recursive: true, force: true });
}

/** Removes the files that killed processes left unfinished in a workspace that is locked. */
export async function tidyWorkspace(workspace: string): Promise<void> {
  for (const folder of [workspace, join(workspace, partialsFolder)]) {
    if (existsSync(folder)) await withFileErrors(folder, () => dropLeftovers(folder, { recursive: false }));
  }
}

async function discard(workspace: string, stage: string): Promise<void> {
  // The identity goes first: a folder without one is never taken for a continuation of anything.
  await rm(sittingFile(workspace, stage), { force: true });
  // A worker that outlived a killed coordinator may be writing its last file there.
  await rm(partialFolder(workspace, stage), { recursive: true, force: true, maxRetries: 10 });
}

async function readSitting(workspace: string, stage: string): Promise<Sitting | undefined> {
  try {
    const value: Partial<Sitting> = JSON.parse(await readFile(sittingFile(workspace, stage), 'utf8'));
    const { identity, startedAt, seconds } = value;
    if (typeof identity !== 'string' || typeof startedAt !== 'string' || typeof seconds !== 'number')
      return undefined;
    return { identity, startedAt, seconds };
  } catch {
    return undefined;
  }
}

function identityKey({ parameters, seed, inputs }: ArtefactIdentity): string {
  return canonicalJson({ formatVersion: manifestVersion, parameters, seed, inputs });
}
