import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { selectBackend } from '../../src/compute/backend.js';
import { readManifest } from '../../src/core/artefact.js';
import { type Log, silentLog } from '../../src/core/log.js';
import { packageFolder } from '../../src/core/package.js';
import { openDataset } from '../../src/data/dataset.js';
import { countLabels } from '../../src/data/label-counts.js';
import { shareFeatures } from '../../src/ensemble/specialist/shared-features.js';
import { readSubsets } from '../../src/ensemble/subsets/subsets-file.js';
import type { Engine } from '../../src/jobs/engine.js';
import type { SpecialistWork } from '../../src/jobs/specialist-work.js';
import { loadGeneralist } from '../../src/models/checkpoint.js';
import { cutNetwork } from '../../src/models/network-backbone.js';
import { tinyFolder } from '../fixtures/tiny-workspace.js';

/** The address of a built module of src/jobs: threads and workers are programs of their own, which only dist/ has. */
export const builtJobs = (path: string) => pathToFileURL(join(packageFolder(), 'dist', 'jobs', path)).href;

/** Room for two processes. */
export const plenty = { workers: 2, memoryMegabytes: 4096 };

/** Signal of a training that nobody stops. */
const never = new AbortController().signal;

/** Has an engine train what is missing of some work. */
export async function trainMissing(
  engine: Engine,
  work: SpecialistWork,
  { log = silentLog, signal = never }: { readonly log?: Log; readonly signal?: AbortSignal } = {},
) {
  const module: typeof import('../../src/jobs/train-missing.js') = await import(
    builtJobs('train-missing.js')
  );
  return module.trainMissing(engine, work, { log, signal });
}

/**
 * The three specialists of the tiny workspace, as work in a folder of the caller's choice.
 *
 * @param root a folder for what they share
 */
export async function tinySpecialists(root: string): Promise<(directory: string) => SpecialistWork> {
  const workspace = join(tinyFolder(), 'kd-workspace');
  const [generalist, dataset] = [join(workspace, 'generalist'), join(workspace, 'dataset')];
  const { subsets } = await readSubsets(join(workspace, 'subsets', 'subsets.json'));
  const { splits, classes } = await openDataset(dataset);
  const labelCounts = [...(await countLabels(splits.train, classes.length))];
  const inputs = {
    generalist: (await readManifest(generalist)).digest,
    dataset: (await readManifest(dataset)).digest,
  };
  const { parameters } = await readManifest(join(workspace, 'specialists', '0'));
  const features = { folder: join(root, 'features'), views: 1 };
  const { operations } = await selectBackend('wasm');
  const { backbone } = cutNetwork(await loadGeneralist(generalist, operations), 'dense');
  await shareFeatures(
    features,
    { backbone, dataset: await openDataset(dataset), seed: 1 },
    { log: silentLog, signal: never },
  );
  backbone.dispose();
  return (directory) => ({
    directory,
    generalist,
    dataset,
    inputs,
    subsets,
    labelCounts,
    features,
    training: {
      retrain: 'top',
      head: 'dustbin',
      dense: null,
      epochs: 1,
      batchSize: Number(parameters.batchSize),
      specialFraction: 0.5,
      optimizer: 'adamw',
      learningRate: 0.001,
      schedule: 'cosine',
      warmup: 0.1,
      weightDecay: 0,
      labelSmoothing: 0,
      views: 1,
      routedShare: 0,
      softShare: 0,
      seed: 1,
      checkpointSeconds: 60,
    },
    backend: 'wasm',
  });
}

/** The files of a specialist that decide its answers. */
export const bytesOf = async (directory: string, id: number) =>
  Promise.all(
    ['model.safetensors', 'config.json'].map((name) => readFile(join(directory, String(id), name), 'base64')),
  );

/** The first specialist of some work, and training enough to do something to it meanwhile: a second for 100 epochs. */
export function workOfEpochs(work: SpecialistWork, epochs: number): SpecialistWork {
  const training = { ...work.training, epochs, checkpointSeconds: 1 };
  return { ...work, subsets: [work.subsets[0]], training };
}

/** The process that trains specialist 0 in a folder, once it has trained for some epochs. */
export async function trainingProcess(directory: string): Promise<number> {
  const partial = join(directory, '.partial');
  for (let look = 0; look < 2000; look++) {
    const metrics = await readFile(join(partial, '0', 'metrics.jsonl'), 'utf8').catch(() => '');
    const lock = await readFile(join(partial, '0.lock', '.lock'), 'utf8').catch(() => '');
    if (metrics.split('\n').length > 3 && lock !== '') return JSON.parse(lock).pid;
    await wait(20);
  }
  throw new Error('nothing trains');
}

/** A log that keeps warnings. */
export function warningsLog(): { readonly log: Log; readonly warnings: string[] } {
  const warnings: string[] = [];
  return { warnings, log: { ...silentLog, warn: (message) => warnings.push(message) } };
}
