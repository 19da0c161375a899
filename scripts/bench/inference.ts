/**
 * Answers of an ensemble against those of its generalist, from images to distributions over all classes.
 *
 *     npx tsx scripts/bench/inference.ts --workspace PATH [--workspace PATH ...] [--images 4096] [--rounds 4]
 *
 * Both answer for the same test images in turn, the generalist in batches of 128 and the ensemble in batches of
 * `batchSizeFor`, into one array that each keeps. `distributions` is `Ensemble.distributions` in batches of 128,
 * which also returns what the generalist and each specialist said. Microseconds of processor time an image, all
 * threads, of each round after a first one. Another program on the machine can double it, so that only the shares of
 * one run say much. `--json` prints one object instead.
 */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import type { BackendName } from '../../src/compute/backend.js';
import { imageBatches } from '../../src/data/batches.js';
import { openDataset } from '../../src/data/dataset.js';
import { loadEnsemble } from '../../src/ensemble/ensemble.js';
import { predictGeneralist } from '../../src/ensemble/predict.js';
import type { Report } from '../../src/evaluation/report.js';
import { batchSizeFor } from '../../src/models/classifier.js';
import { describeMachine } from '../machine.js';

const { values } = parseArgs({
  options: {
    workspace: { type: 'string', multiple: true },
    images: { type: 'string', default: '4096' },
    rounds: { type: 'string', default: '4' },
    backend: { type: 'string', default: 'wasm' },
    json: { type: 'boolean', default: false },
  },
});
if (values.workspace === undefined) throw new Error('name a workspace: --workspace PATH');

type Who = 'generalist' | 'ensemble' | 'distributions';
/** Microseconds an image. */
type Round = Readonly<Record<Who, number>>;

async function measure(workspace: string) {
  const ensemble = await loadEnsemble(workspace, { backend: values.backend as BackendName });
  const { splits, image } = await openDataset(join(workspace, 'dataset'));
  const classes = ensemble.classes.length;
  const small = 128;
  const large = batchSizeFor(classes);
  const read = async (batchSize: number): Promise<Float32Array[]> => {
    const batches: Float32Array[] = [];
    let images = 0;
    for await (const batch of imageBatches(splits.test, image, { batchSize })) {
      batches.push(batch.images);
      images += batch.labels.length;
      if (images >= Number(values.images)) break;
    }
    return batches;
  };
  const outs = { generalist: new Float32Array(small * classes), ensemble: new Float32Array(large * classes) };
  const asks: Record<Who, { batchSize: number; ask: (images: tf.Tensor4D) => Promise<unknown> }> = {
    generalist: {
      batchSize: small,
      ask: (images) => predictGeneralist(ensemble.generalist, images, { out: outs.generalist }),
    },
    ensemble: { batchSize: large, ask: (images) => ensemble.predict(images, { out: outs.ensemble }) },
    distributions: { batchSize: small, ask: (images) => ensemble.distributions(images) },
  };
  const respondents = await Promise.all(
    Object.entries(asks).map(async ([who, { batchSize, ask }]) => ({
      who: who as Who,
      ask,
      batches: await read(batchSize),
    })),
  );
  const rounds: Round[] = [];
  for (let round = 0; round <= Number(values.rounds); round++) {
    const costs: Record<Who, number> = { generalist: 0, ensemble: 0, distributions: 0 };
    for (const { who, ask, batches } of respondents) {
      let microseconds = 0;
      let images = 0;
      for (const pixels of batches) {
        const count = pixels.length / (image.height * image.width * image.channels);
        const input = tf.tensor4d(pixels, [count, image.height, image.width, image.channels]);
        const before = process.cpuUsage();
        await ask(input);
        const { user, system } = process.cpuUsage(before);
        input.dispose();
        microseconds += user + system;
        images += count;
      }
      costs[who] = microseconds / images;
    }
    if (round > 0) rounds.push(costs);
  }
  const specialists = ensemble.specialists.length;
  ensemble.dispose();
  const { inference }: Report = JSON.parse(readFileSync(join(workspace, 'report', 'report.json'), 'utf8'));
  return {
    name: basename(workspace),
    classes,
    specialists,
    batchSizes: { small, large },
    rounds,
    ...(inference && {
      active: inference.active,
      shareByOperations: inference.generalistFlops / inference.ensembleFlops,
    }),
  };
}

const rows = [];
for (const workspace of values.workspace) rows.push(await measure(workspace));
const machine = describeMachine(5);
if (values.json) console.log(JSON.stringify({ machine, backend: values.backend, rows }, null, 2));
else {
  for (const { name, classes, specialists, batchSizes, rounds, active, shareByOperations } of rows) {
    console.log(
      `${name}: ${classes} classes, ${specialists} specialists, batches of ${batchSizes.small} and ${batchSizes.large}`,
    );
    for (const who of ['generalist', 'ensemble', 'distributions'] as const) {
      const range = (of: (round: Round) => number, digits: number) => {
        const all = rounds.map(of);
        return `${Math.min(...all).toFixed(digits)} to ${Math.max(...all).toFixed(digits)}`;
      };
      const cost = range((round) => round[who], 0);
      const share = range((round) => round.generalist / round[who], 2);
      console.log(`  ${who.padEnd(14)} ${cost} us an image, share ${share}`);
    }
    if (active !== undefined && shareByOperations !== undefined) {
      console.log(
        `  ${active.toFixed(2)} specialists an image; by operations a share of ${shareByOperations.toFixed(2)}`,
      );
    }
  }
  console.log(`load ${machine.load.toFixed(1)}`);
}
