/**
 * Answers of an ensemble against those of its generalist, from images to distributions over all classes.
 *
 *     npx tsx scripts/bench/inference.ts --workspace PATH [--images 4096] [--rounds 4] [--backend wasm]
 *
 * Both answer for the same test images in turn, the generalist in batches of 128 and the ensemble in batches of
 * `answerBatchSize`, into one array that each keeps. `slow` is `Ensemble.distributions` in batches of 128, which also
 * returns what the generalist and each specialist said. Microseconds of processor time an image, all threads: the mean
 * over the rounds after a first one. Another program on the machine can double it, so that only the shares of one run
 * say much.
 */
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import type { BackendName } from '../../src/compute/backend.js';
import { imageBatches } from '../../src/data/batches.js';
import { openDataset } from '../../src/data/dataset.js';
import { answerBatchSize } from '../../src/ensemble/batch-size.js';
import { loadEnsemble } from '../../src/ensemble/ensemble.js';
import { predictGeneralist } from '../../src/ensemble/predict.js';

const { values } = parseArgs({
  options: {
    workspace: { type: 'string' },
    images: { type: 'string', default: '4096' },
    rounds: { type: 'string', default: '4' },
    backend: { type: 'string', default: 'wasm' },
  },
});
if (values.workspace === undefined) throw new Error('name a workspace: --workspace PATH');
const ensemble = await loadEnsemble(values.workspace, { backend: values.backend as BackendName });
const { splits, image } = await openDataset(join(values.workspace, 'dataset'));
const classes = ensemble.classes.length;
const small = 128;
const large = answerBatchSize(classes);

async function read(batchSize: number): Promise<Float32Array[]> {
  const batches: Float32Array[] = [];
  let images = 0;
  for await (const batch of imageBatches(splits.test, image, { batchSize })) {
    batches.push(batch.images);
    images += batch.labels.length;
    if (images >= Number(values.images)) break;
  }
  return batches;
}

const outs = { generalist: new Float32Array(small * classes), ensemble: new Float32Array(large * classes) };
const respondents = [
  {
    name: 'generalist',
    batches: await read(small),
    ask: (images: tf.Tensor4D): Promise<unknown> =>
      predictGeneralist(ensemble.generalist, images, { out: outs.generalist }),
  },
  {
    name: 'ensemble',
    batches: await read(large),
    ask: (images: tf.Tensor4D): Promise<unknown> => ensemble.predict(images, { out: outs.ensemble }),
  },
  {
    name: 'slow',
    batches: await read(small),
    ask: (images: tf.Tensor4D): Promise<unknown> => ensemble.distributions(images),
  },
].map((respondent) => ({ ...respondent, microseconds: 0, images: 0 }));

for (let round = 0; round <= Number(values.rounds); round++) {
  for (const respondent of respondents) {
    for (const pixels of respondent.batches) {
      const count = pixels.length / (image.height * image.width * image.channels);
      const input = tf.tensor4d(pixels, [count, image.height, image.width, image.channels]);
      const before = process.cpuUsage();
      await respondent.ask(input);
      const { user, system } = process.cpuUsage(before);
      input.dispose();
      if (round === 0) continue;
      respondent.microseconds += user + system;
      respondent.images += count;
    }
  }
}
const each = respondents.map(({ name, microseconds, images }) => ({ name, cost: microseconds / images }));
console.log(`${classes} classes, batches of ${small} and ${large}, load ${loadavg()[0]?.toFixed(1)}`);
for (const { name, cost } of each) {
  console.log(
    `${name.padEnd(12)} ${cost.toFixed(0)} us an image, share ${((each[0]?.cost ?? 0) / cost).toFixed(2)}`,
  );
}
ensemble.dispose();
