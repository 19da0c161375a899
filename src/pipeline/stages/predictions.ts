import { rm } from 'node:fs/promises';
import { selectBackend } from '../../compute/backend.js';
import { KdSpecError } from '../../core/errors.js';
import { imageBatches } from '../../data/batches.js';
import { openDataset } from '../../data/dataset.js';
import { createPredictionWriter } from '../../data/predictions.js';
import { createCsrBuilder } from '../../math/csr.js';
import { keepMass } from '../../math/top-k.js';
import { batchSizeFor, rowOf } from '../../models/classifier.js';
import { loadNetworkClassifier } from '../../models/network-classifier.js';
import type { StageContext } from '../stage.js';
import type { StageResults } from '../stage-metrics.js';

const mostImages = 128; // a forward pass

/** Writes, for each image of a split, the generalist's most probable classes up to a stated mass. */
export async function predict(context: StageContext): Promise<StageResults['predictions']> {
  const { settings, directory, log, signal } = context;
  const { split: splitName, mass, maxTop } = settings.predictions;
  const { name: backend, operations } = await selectBackend(context.backend);
  context.usesBackend(backend);
  const { splits, image, classes } = await openDataset(context.input('dataset'));
  const split = splits[splitName];
  const generalist = await loadNetworkClassifier(context.input('generalist'), operations, {
    name: 'the generalist',
    store: context.store,
  });
  await rm(directory, { recursive: true, force: true }); // rows of an interrupted run: predicting is quick
  const writer = createPredictionWriter(directory, { classes: classes.length, names: classes });
  const progress = log.progress(`predictions for ${splitName}`, split.rows);
  const batchSize = Math.min(mostImages, batchSizeFor(classes.length));
  const out = new Float32Array(batchSize * classes.length);
  let rows = 0;
  let entries = 0;
  let keptMass = 0;
  let correct = 0;
  try {
    for await (const batch of imageBatches(split, image, { batchSize })) {
      if (signal.aborted) throw new KdSpecError('interrupted', `predictions: stopped after ${rows} images`);
      const { labels } = batch;
      const distributions = await generalist.probabilities(batch, { out }); // (batch, classes)
      const kept = createCsrBuilder(classes.length);
      for (const [row, label] of labels.entries()) {
        const top = keepMass(rowOf(distributions, row, classes.length), mass, maxTop);
        kept.addRow(top.indices, top.values, top.indices.length);
        if (top.indices[0] === label) correct++;
        keptMass += top.values.reduce((sum, value) => sum + value, 0);
      }
      const probabilities = kept.finish();
      await writer.write({ probabilities, labels });
      rows += labels.length;
      entries += probabilities.indices.length;
      progress.update(rows);
    }
    await writer.close();
  } catch (error) {
    await writer.abort();
    throw error;
  } finally {
    generalist.dispose();
  }
  progress.finish();
  return { split: splitName, rows, meanTop: entries / rows, meanMass: keptMass / rows, top1: correct / rows };
}
