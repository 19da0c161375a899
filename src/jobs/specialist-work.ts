import { join } from 'node:path';
import type { BackendName } from '../compute/backend.js';
import { findDamage, findManifest, type Manifest } from '../core/artefact.js';
import type { ArtefactIdentity } from '../core/artefact-writer.js';
import { KdSpecError } from '../core/errors.js';
import { canonicalJson } from '../core/json.js';
import type { SharedFeatures } from '../ensemble/specialist/shared-features.js';
import type { SpecialistTraining } from '../ensemble/specialist/train-specialist.js';
import type { Subset } from '../ensemble/subsets/subsets.js';

/** Everything that a process needs to train any specialist of a workspace. Plain data: it can be sent as JSON. */
export interface SpecialistWork {
  /** The folder in which each specialist becomes an artefact named by its id. */
  readonly directory: string;
  /** Folders of the artefacts that specialists are made from, and their digests. */
  readonly generalist: string;
  readonly dataset: string;
  readonly inputs: Readonly<Record<string, string>>;
  readonly subsets: readonly Subset[];
  /** Training examples of each class, (classes). */
  readonly labelCounts: readonly number[];
  /** What the frozen parts of the generalist make of the training images, where any part is frozen. */
  readonly features?: SharedFeatures | undefined;
  readonly training: SpecialistTraining;
  readonly backend: BackendName;
}

/** What became of one specialist. */
export interface SpecialistOutcome {
  readonly id: number;
  /** Seconds of training; 0 when it had been done before. */
  readonly seconds: number;
  readonly wasDone: boolean;
}

/** What decides the bytes of the specialist at a position of the list of subsets. */
export function specialistIdentity(work: SpecialistWork, position: number): ArtefactIdentity {
  const { checkpointSeconds: _, ...decisive } = work.training;
  const { classes } = work.subsets[position];
  return {
    parameters: { ...decisive, classes: [...classes] },
    seed: work.training.seed,
    inputs: work.inputs,
  };
}

/** The manifest of a specialist that is done: whole, and made as this work asks; else undefined. */
export async function findFinished(work: SpecialistWork, position: number): Promise<Manifest | undefined> {
  const folder = join(work.directory, String(work.subsets[position].id));
  let manifest: Manifest | undefined;
  try {
    manifest = await findManifest(folder);
  } catch (error) {
    if (error instanceof KdSpecError && error.code === 'artefact-corrupt') return undefined;
    throw error;
  }
  if (manifest === undefined || keyOf(manifest) !== keyOf(specialistIdentity(work, position)))
    return undefined;
  return (await findDamage(folder, manifest)) === undefined ? manifest : undefined;
}

function keyOf({ parameters, seed, inputs }: ArtefactIdentity): string {
  return canonicalJson({ parameters, seed, inputs });
}

/** What stands in the folder of some work, from whichever engine. */
export interface Collection {
  readonly done: readonly SpecialistOutcome[];
  /** Positions of the subsets whose specialists are still to be trained. */
  readonly missing: readonly number[];
}

/** Looks which specialists are done. A torn or foreign artefact is missing: its job makes it again. */
export async function collect(work: SpecialistWork): Promise<Collection> {
  const done: SpecialistOutcome[] = [];
  const missing: number[] = [];
  for (const [position, { id }] of work.subsets.entries()) {
    if (await findFinished(work, position)) done.push({ id, seconds: 0, wasDone: true });
    else missing.push(position);
  }
  return { done, missing };
}
