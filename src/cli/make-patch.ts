import { join } from 'node:path';
import type { Log } from '../core/log.js';
import type { NetworkEnsemble } from '../ensemble/ensemble.js';
import type { ExportedModel } from '../ensemble/export/export-onnx.js';
import type { ExportedEnsemble } from '../ensemble/export/exported-ensemble.js';
import type { ExportedParts } from '../ensemble/export/exported-parts.js';
import type { JudgingImages } from '../evaluation/first-classes.js';
import type { PatchFigures } from '../evaluation/patch-figures.js';
import type { Classifier } from '../models/classifier.js';
import type { PatchRecord } from '../models/onnx/exported-metadata.js';
import type { ResolvedSettings } from '../pipeline/settings.js';
import type { MeasuredPatch } from './patch-summary.js';

const comparedImages = 256; // for the test, on which the file has to predict what the networks do

/** A patched model, measured and not yet written. */
export interface Patched {
  readonly model: ExportedModel;
  /** How far the file's probabilities are from the networks', which are measured: their features are stored. */
  readonly compared: { readonly images: number; readonly maxDifference: number };
  readonly measured: MeasuredPatch;
  /** Specialists that it has more. */
  readonly added: number;
  /** The patches that were in the model before. */
  readonly earlier: readonly PatchRecord[];
  /** Of the ensemble that was measured, see `ensembleKey`. */
  readonly ensemble: string;
}

/** What stops a measurement, and what is told of it. */
interface Watch {
  readonly signal: AbortSignal;
  readonly log: Log;
  /** First classes of the model as it came, where it was patched before, by part: no calibration changes them. */
  readonly ofEarlier: Map<string, Int32Array>;
}

export const lostByBystanders = ({ bystanders }: Pick<MeasuredPatch, 'bystanders'>) =>
  bystanders ? bystanders.before - bystanders.after : 0;

/** What the ensemble of a workspace makes of the bystanders for the test; none: there are none. */
export async function measureBystanders(
  { settings }: ResolvedSettings,
  watch: Watch,
): Promise<PatchFigures | undefined> {
  const { openBystanders } = await import('../data/bystanders.js');
  const { judgingBystanders } = await import('../evaluation/first-classes.js');
  const others = await openBystanders(join(settings.workspace, 'dataset'));
  if (others === undefined) return undefined;
  const { unlabelled } = others;
  const images = judgingBystanders(others, 'test');
  return withNetworks(settings, (opened) => figuresOf(images, opened, { settings, unlabelled, ...watch }));
}

/** A model that was patched before is itself what a patch is measured against, not its generalist. */
async function figuresOf(
  images: JudgingImages,
  { networks, original, earlier, key }: Opened,
  {
    settings: { workspace },
    unlabelled,
    signal,
    log,
    ofEarlier,
  }: Watch & {
    readonly settings: ResolvedSettings['settings'];
    readonly unlabelled?: number;
  },
): Promise<PatchFigures> {
  const { firstClassesOfOne, storedFirstClasses } = await import('../evaluation/first-classes.js');
  const { patchFigures } = await import('../evaluation/patch-figures.js');
  const judged = { ensemble: networks, original };
  const store = join(workspace, 'features');
  const name = `measuring ${images.part === 'test' ? 'images' : 'bystanders'} for the test`;
  let before = ofEarlier.get(images.part);
  const progress = log.progress(name, images.split.rows * (earlier && !before ? 2 : 1));
  const update = (done: number) => progress.update(done);
  const found = await storedFirstClasses(judged, images, { key, store, signal, update });
  if (earlier && !before) {
    const { rows } = images.split;
    before = await firstClassesOfOne(earlier, images, { signal, update: (done) => update(rows + done) });
    ofEarlier.set(images.part, before);
  }
  progress.finish();
  return patchFigures({ ...found, ...(before && { before }) }, { unlabelled });
}

interface Opened {
  readonly networks: NetworkEnsemble;
  readonly parts: ExportedParts;
  /** The model as it was, where the generalist has another last layer. */
  readonly original: Classifier | undefined;
  /** A model that was patched before, as it came. */
  readonly earlier: ExportedEnsemble | undefined;
  /** Of the ensemble, and of what it predicts: see `ensembleKey` and `firstClassesKey`. */
  readonly ensemble: string;
  readonly key: string;
}

/** The ensemble of a workspace, and what it was made of where that is not its own generalist. */
async function withNetworks<T>(
  { workspace, backend }: ResolvedSettings['settings'],
  use: (opened: Opened) => Promise<T>,
): Promise<T> {
  const { loadNetworkEnsemble } = await import('../ensemble/ensemble.js');
  const { openExportedEnsemble } = await import('../ensemble/export/exported-ensemble.js');
  const { exportedParts } = await import('../ensemble/export/exported-parts.js');
  const { readModelBytes } = await import('../models/onnx/model-file.js');
  const { readExportedMetadata } = await import('../models/onnx/exported-metadata.js');
  const { loadOriginal } = await import('../models/network-classifier.js');
  const { ensembleKey, firstClassesKey } = await import('../evaluation/first-classes.js');
  const [ensemble, key] = [await ensembleKey(workspace), await firstClassesKey(workspace)];
  const networks = await loadNetworkEnsemble(workspace, { backend, store: join(workspace, 'features') });
  const folder = join(workspace, 'generalist');
  let earlier: ExportedEnsemble | undefined;
  let original: Classifier | undefined;
  try {
    const parts = await exportedParts(networks, folder);
    const own = parts.imported?.model;
    if (own !== undefined && readExportedMetadata(own) !== undefined)
      earlier = await openExportedEnsemble(await readModelBytes(own.path), { path: own.path });
    original = await loadOriginal(folder, networks.generalist);
    return await use({ networks, parts, original, earlier, ensemble, key });
  } finally {
    for (const one of [original, earlier, networks]) one?.dispose();
  }
}

/** Writes the ensemble of a workspace into its model, and measures it against the model on the images for the test. */
export async function makePatched(
  { settings }: ResolvedSettings,
  bystanders: PatchFigures | undefined,
  { replaceOutput, ...watch }: Watch & { readonly replaceOutput: boolean },
): Promise<Patched> {
  const { exportOnnx } = await import('../ensemble/export/export-onnx.js');
  const { compareExported } = await import('./compare-exported.js');
  const { workspace } = settings;
  return withNetworks(settings, async (opened) => {
    const { networks, parts, earlier } = opened;
    const model = await exportOnnx(parts, { replaceOutput });
    const { images, maxDifference } = await compareExported(model, networks, workspace, {
      images: comparedImages,
      signal: watch.signal,
    });
    return {
      model,
      compared: { images, maxDifference },
      measured: { ...(await measureTest(settings, opened, watch)), bystanders },
      added: model.metadata.specialists - (earlier?.metadata.specialists ?? 0),
      earlier: earlier?.metadata.patches ?? [],
      ensemble: opened.ensemble,
    };
  });
}

async function measureTest(
  settings: ResolvedSettings['settings'],
  opened: Opened,
  watch: Watch,
): Promise<Omit<MeasuredPatch, 'bystanders'>> {
  const { openDataset } = await import('../data/dataset.js');
  const { countLabels } = await import('../data/label-counts.js');
  const { splits, image, classes } = await openDataset(join(settings.workspace, 'dataset'));
  const labels = await countLabels(splits.train, classes.length);
  const withImages = labels.reduce((sum, images) => sum + Number(images > 0), 0);
  const images = { part: 'test', split: splits.test, image };
  return {
    test: await figuresOf(images, opened, { settings, ...watch }),
    classes: withImages,
    withoutImages: classes.length - withImages,
  };
}
