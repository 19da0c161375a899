import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { BackendName } from '../compute/backend.js';
import { readManifest } from '../core/artefact.js';
import { KdSpecError } from '../core/errors.js';
import { canonicalJson } from '../core/json.js';
import type { EnsembleRuntime } from '../ensemble/load-ensemble.js';
import type { Classifier } from '../models/classifier.js';
import { datasetGallery, type Gallery } from './gallery.js';
import { type ModelThreadOptions, openInThread } from './model-thread.js';

/** What is served of a workspace. */
export interface WorkspaceModel {
  readonly classifier: Classifier;
  /** Another for every other ensemble. */
  readonly version: string;
  /** None where the data set is gone, or is another than the model's. */
  readonly gallery: Gallery | undefined;
  /** Why there is no gallery. */
  readonly note: string | undefined;
}

const versionLetters = 12;

/**
 * Loads the ensemble of a workspace, in a thread of its own, with the images of its data set.
 *
 * @param options.onEnd told if the thread ends by itself
 * @throws KdSpecError as `loadEnsemble`; `artefact-corrupt` while a pipeline has replaced the generalist or the
 * specialists and not yet calibrated the ensemble of them
 */
export async function openWorkspaceModel(
  workspace: string,
  {
    backend,
    runtime,
    onEnd,
  }: {
    readonly backend: BackendName;
    readonly runtime?: EnsembleRuntime | undefined;
  } & Pick<ModelThreadOptions, 'onEnd'>,
): Promise<WorkspaceModel> {
  const version = await workspaceVersion(workspace);
  const classifier = await openInThread({ kind: 'workspace', path: workspace, backend, runtime }, { onEnd });
  try {
    if ((await workspaceVersion(workspace)) !== version)
      throw unfinished(workspace, 'the ensemble was replaced while it was read');
    const gallery = await datasetGallery(join(workspace, 'dataset'), classifier.classes).catch(
      (error: unknown) => {
        if (error instanceof KdSpecError) return error;
        throw error;
      },
    );
    return gallery instanceof KdSpecError
      ? { classifier, version, gallery: undefined, note: `no example images: ${gallery.message}` }
      : { classifier, version, gallery, note: undefined };
  } catch (error) {
    classifier.dispose();
    throw error;
  }
}

/**
 * Names the ensemble that a workspace holds.
 *
 * @throws KdSpecError `not-found` without an ensemble; `artefact-corrupt` when it was not calibrated for the generalist
 * and the specialists that lie beside it
 */
async function workspaceVersion(workspace: string): Promise<string> {
  const { digest, inputs } = await readManifest(join(workspace, 'ensemble')).catch((error: unknown) => {
    if (!(error instanceof KdSpecError) || error.code !== 'not-found') throw error;
    throw new KdSpecError(
      'not-found',
      `expected an ensemble in the workspace ${workspace}, found none: make one with kd-spec run or kd-spec calibrate`,
      { cause: error },
    );
  });
  for (const stage of ['generalist', 'specialists']) {
    const found = await readManifest(join(workspace, stage));
    if (found.digest !== inputs[stage])
      throw unfinished(workspace, `its ensemble was calibrated for another ${stage}`);
  }
  return createHash('sha256')
    .update(canonicalJson({ digest, inputs }))
    .digest('hex')
    .slice(0, versionLetters);
}

function unfinished(workspace: string, what: string): KdSpecError {
  return new KdSpecError(
    'artefact-corrupt',
    `${workspace}: ${what}: let the pipeline that works there finish, or run kd-spec calibrate`,
  );
}

/**
 * Looks again and again whether a workspace has another ensemble, and loads it. One that cannot be loaded yet is tried
 * again at the next look; a reason is told once.
 *
 * @param version of the one that is served at first
 * @param options.everySeconds between two looks
 * @param options.signal ends it
 */
export async function watchWorkspace(
  workspace: string,
  version: string,
  {
    backend,
    runtime,
    everySeconds,
    signal,
    onModel,
    onFailure,
    onEnd,
  }: Pick<ModelThreadOptions, 'onEnd'> & {
    readonly backend: BackendName;
    readonly runtime?: EnsembleRuntime | undefined;
    readonly everySeconds: number;
    readonly signal: AbortSignal;
    readonly onModel: (model: WorkspaceModel) => void;
    readonly onFailure: (error: Error) => void;
  },
): Promise<void> {
  let served = version;
  let told: string | undefined;
  while (!signal.aborted) {
    await wait(1000 * everySeconds, undefined, { signal, ref: false }).catch(() => {});
    if (signal.aborted) return;
    try {
      if ((await workspaceVersion(workspace)) === served) continue;
      const model = await openWorkspaceModel(workspace, { backend, runtime, onEnd });
      if (signal.aborted) {
        model.classifier.dispose();
        return;
      }
      served = model.version;
      told = undefined;
      onModel(model);
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error)); // a server goes on, whatever it is
      if (reason.message !== told) onFailure(reason);
      told = reason.message;
    }
  }
}
