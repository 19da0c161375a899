/**
 * Inference of an ensemble against that of its generalist, from images to distributions over all classes.
 *
 *     npx tsx scripts/bench/inference.ts --workspace PATH [--workspace PATH ...] [--images 4096] [--rounds 4] \
 *       [--without onnx]
 *
 * Both predict for the same test images in turn, the generalist in batches of 128 and the ensemble in batches of
 * `batchSizeFor`, into one array that each keeps. `trace` is `Ensemble.trace` in batches of 128, which also returns what
 * the generalist and each specialist predicted. `onnx` is the exported form in ONNX Runtime, in batches of 128 and `alone`,
 * one image at a time. Microseconds of processor time an image, all threads, of each round after
 * a first one. Another program on the machine can double it, so that only the shares of one run say much. `--json` prints
 * one object instead.
 */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import type { BackendName } from '../../src/compute/backend.js';
import { imageBatches } from '../../src/data/batches.js';
import { openDataset } from '../../src/data/dataset.js';
import { loadNetworkEnsemble } from '../../src/ensemble/ensemble.js';
import { loadEnsemble } from '../../src/ensemble/load-ensemble.js';
import type { Report } from '../../src/evaluation/report.js';
import { batchSizeFor, type ImageBatch } from '../../src/models/classifier.js';
import { networkClassifier } from '../../src/models/network-classifier.js';
import { describeMachine } from '../machine.js';

const { values } = parseArgs({
  options: {
    workspace: { type: 'string', multiple: true },
    images: { type: 'string', default: '4096' },
    rounds: { type: 'string', default: '4' },
    backend: { type: 'string', default: 'wasm' },
    without: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
if (values.workspace === undefined) throw new Error('name a workspace: --workspace PATH');

type Who = 'generalist' | 'ensemble' | 'trace' | 'onnx' | 'onnx alone';
/** Microseconds an image. */
type Round = Readonly<Partial<Record<Who, number>> & { generalist: number }>;
const isWithoutOnnx = values.without === 'onnx';

async function measure(workspace: string) {
  const ensemble = await loadNetworkEnsemble(workspace, { backend: values.backend as BackendName });
  const onnx = isWithoutOnnx ? undefined : await loadEnsemble(workspace, { runtime: 'onnx' });
  const { splits, image } = await openDataset(join(workspace, 'dataset'));
  const classes = ensemble.classes.length;
  const small = 128;
  const large = batchSizeFor(classes);
  const read = async (batchSize: number): Promise<ImageBatch[]> => {
    const batches: ImageBatch[] = [];
    let images = 0;
    for await (const batch of imageBatches(splits.test, image, { batchSize })) {
      batches.push(batch);
      images += batch.count;
      if (images >= Number(values.images)) break;
    }
    return batches;
  };
  const outs = { generalist: new Float32Array(small * classes), ensemble: new Float32Array(large * classes) };
  const generalist = networkClassifier(ensemble.generalist, {
    name: 'the generalist',
    classes: ensemble.classes,
  });
  interface Kind {
    readonly batchSize: number;
    predict(batch: ImageBatch): Promise<unknown>;
  }
  const kinds: Partial<Record<Who, Kind>> = {
    generalist: {
      batchSize: small,
      predict: (batch) => generalist.probabilities(batch, { out: outs.generalist }),
    },
    ensemble: {
      batchSize: large,
      predict: (batch) => ensemble.probabilities(batch, { out: outs.ensemble }),
    },
    trace: { batchSize: small, predict: (batch) => ensemble.trace(batch) },
  };
  if (onnx) {
    const predict = (batch: ImageBatch) => onnx.probabilities(batch, { out: outs.generalist });
    kinds.onnx = { batchSize: small, predict };
    kinds['onnx alone'] = { batchSize: 1, predict };
  }
  const contestants = await Promise.all(
    Object.entries(kinds).map(async ([who, { batchSize, predict }]) => ({
      who: who as Who,
      predict,
      batches: await read(batchSize),
    })),
  );
  const rounds: Round[] = [];
  for (let round = 0; round <= Number(values.rounds); round++) {
    const costs: Partial<Record<Who, number>> & { generalist: number } = { generalist: 0 };
    for (const { who, predict, batches } of contestants) {
      let microseconds = 0;
      let images = 0;
      for (const batch of batches) {
        const before = process.cpuUsage();
        await predict(batch);
        const { user, system } = process.cpuUsage(before);
        microseconds += user + system;
        images += batch.count;
      }
      costs[who] = microseconds / images;
    }
    if (round > 0) rounds.push(costs);
  }
  const specialists = ensemble.specialists.length;
  ensemble.dispose();
  onnx?.dispose();
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
    for (const who of ['generalist', 'ensemble', 'trace', 'onnx', 'onnx alone'] as const) {
      const range = (value: (round: Round) => number, digits: number) => {
        const all = rounds.map(value);
        return `${Math.min(...all).toFixed(digits)} to ${Math.max(...all).toFixed(digits)}`;
      };
      if (rounds.some((round) => round[who] === undefined)) continue;
      const of = (round: Round) => round[who] ?? Number.NaN;
      const cost = range(of, 0);
      const share = range((round) => round.generalist / of(round), 2);
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
