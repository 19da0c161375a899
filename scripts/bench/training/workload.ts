import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { createRandom } from '../../../src/core/random.js';
import { type Dataset, openDataset } from '../../../src/data/dataset.js';
import { hanSource } from '../../../src/data/han/han-source.js';
import { writeDataset } from '../../../src/data/write-dataset.js';
import {
  convolutionalFeatures,
  type NetworkDefinition,
  type NetworkPart,
} from '../../../src/models/network-definition.js';

/** Images a step in every training benchmark: the default of `--batch-size`. */
export const batchSize = 128;

/** A generalist with that many classes; of 15,000, its convolutions cost as much as its head. */
export function generalistDefinition(outputs: number): NetworkDefinition {
  return {
    input: { height: 28, width: 28, channels: 1 },
    convolutions: [32, 64],
    kernel: 3,
    dense: [256],
    normalisation: 'batch',
    dropout: 0,
    outputs,
  };
}

/** A specialist of 300 classes and a dustbin. */
export const specialistOutputs = 301;

/** What is trained: a network from a part of it on, whose input the batches are. */
export interface Workload {
  readonly name: string;
  readonly outputs: number;
  readonly from: Exclude<NetworkPart, 'head'>;
}

/** The trainings that are timed. */
export const workloads: readonly Workload[] = [
  { name: 'generalist, 1,000 classes', outputs: 1000, from: 'convolutions' },
  { name: 'generalist, 15,000 classes', outputs: 15_000, from: 'convolutions' },
  { name: 'specialist, all', outputs: specialistOutputs, from: 'convolutions' },
  { name: 'specialist, top', outputs: specialistOutputs, from: 'dense' },
];

/** The shape of one input of a workload: an image, or what the convolutions make of it. */
export function inputShape({ outputs, from }: Workload): readonly number[] {
  const definition = generalistDefinition(outputs);
  const { height, width, channels } = definition.input;
  return from === 'convolutions' ? [height, width, channels] : [convolutionalFeatures(definition)];
}

/** A batch of random numbers in [0, 1) with random labels, the same for every contestant. */
export function randomBatch(workload: Workload): {
  readonly inputs: Float32Array;
  readonly labels: Int32Array;
} {
  const random = createRandom('inputs');
  const size = inputShape(workload).reduce((product, extent) => product * extent, batchSize);
  return {
    inputs: Float32Array.from({ length: size }, () => random.uniform()),
    labels: Int32Array.from({ length: batchSize }, () => random.below(workload.outputs)),
  };
}

/**
 * Images as `han-15k` has them, 28 × 28 glyphs that are degraded whenever they are drawn, of 500 characters: a step
 * costs the same whichever characters it sees.
 */
export async function withGlyphs<T>(work: (dataset: Dataset) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'kd-spec-bench-'));
  try {
    const defaults = parse(
      await readFile(new URL('../../../datasets/han/dataset.yaml', import.meta.url), 'utf8'),
    );
    const source = await hanSource({ ...defaults, classes: 500, imageSize: 28, copies: 1, seed: 1 });
    const directory = join(folder, 'dataset');
    await writeDataset(directory, source);
    return await work(await openDataset(directory));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
