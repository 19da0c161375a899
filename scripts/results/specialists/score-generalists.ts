import { join } from 'node:path';
import { selectBackend } from '../../../src/compute/backend.js';
import { type ImageBatch, imageBatches } from '../../../src/data/batches.js';
import { openDataset } from '../../../src/data/dataset.js';
import type { ImageShape } from '../../../src/data/source.js';
import { minimize } from '../../../src/ensemble/calibration/minimize.js';
import { smallestSoftmax } from '../../../src/ensemble/rules/distributions.js';
import { readSubsets } from '../../../src/ensemble/subsets/subsets-file.js';
import { createLikelihoodFit } from '../../../src/evaluation/likelihood.js';
import { createMean } from '../../../src/math/mean.js';
import { isFirstWithin, rankOf } from '../../../src/math/rank.js';
import { logSumExp, softmax } from '../../../src/math/softmax.js';
import { loadGeneralist } from '../../../src/models/checkpoint.js';
import type { Network } from '../../../src/models/network.js';
import { runNetwork } from '../../../src/models/run-network.js';

const batchSize = 128;
const fittedOn = 4096; // validation images: as many logits of 15,000 classes are 250 MB
const [coldest, hottest] = [0.25, 4];
const logOf = (probability: number) => Math.log(Math.max(probability, smallestSoftmax));

/**
 * Test accuracy of the mean of several generalists' distributions, and how well it fits the labels: as it is, and under
 * a temperature fitted to validation images.
 *
 * @param workspaces one for each generalist, all with the same data
 * @param ours the workspace whose kept specialists' subsets define the conditional accuracy
 */
export async function scoreGeneralists(workspaces: readonly string[], ours: string, kept: readonly number[]) {
  const { operations } = await selectBackend('auto');
  const { splits, image } = await openDataset(join(workspaces[0], 'dataset'));
  const { subsets } = await readSubsets(join(ours, 'subsets', 'subsets.json'));
  const covering = new Map<number, (readonly number[])[]>();
  for (const { id, classes } of subsets) {
    if (!kept.includes(id)) continue;
    for (const label of classes) covering.set(label, [...(covering.get(label) ?? []), classes]);
  }
  const networks = await Promise.all(
    workspaces.map((one) => loadGeneralist(join(one, 'generalist'), operations)),
  );
  const temperature = await fitTemperature(
    networks,
    imageBatches(splits.validation, image, { batchSize }),
    image,
  );
  const [top1, top5, conditional] = [createMean(), createMean(), createMean()];
  const [likelihood, tempered] = [createLikelihoodFit(), createLikelihoodFit()];
  for await (const batch of imageBatches(splits.test, image, { batchSize })) {
    for (const { mean, label } of await meanDistributions(networks, batch, image)) {
      const rank = rankOf(mean, label);
      top1.add(Number(rank < 1));
      top5.add(Number(rank < 5));
      likelihood.add(label, mean);
      tempered.add(label, softmax(mean.map(logOf), { temperature }));
      const pairs = covering.get(label) ?? [];
      const right = pairs.filter((subset) => isFirstWithin(subset, (i) => mean[subset[i]], label));
      if (pairs.length > 0) conditional.add(right.length, pairs.length);
    }
  }
  for (const network of networks) network.dispose();
  return {
    top1: top1.estimate(),
    top5: top5.estimate(),
    conditional: conditional.estimate(),
    likelihood: likelihood.result(),
    tempered: { ...tempered.result(), temperature },
  };
}

/** The temperature of the mean's logarithms under which the labels of validation images are most likely. */
async function fitTemperature(
  networks: readonly Network[],
  batches: AsyncIterable<ImageBatch>,
  shape: ImageShape,
): Promise<number> {
  const examples: { readonly logits: Float32Array; readonly label: number }[] = [];
  for await (const batch of batches) {
    for (const { mean, label } of await meanDistributions(networks, batch, shape)) {
      examples.push({ logits: Float32Array.from(mean, logOf), label });
    }
    if (examples.length >= fittedOn) break;
  }
  const negativeLogLikelihood = (temperature: number) =>
    examples.reduce((sum, { logits, label }) => {
      const scaled = logits.map((logit) => logit / temperature);
      return sum + logSumExp(scaled) - scaled[label];
    }, 0);
  return (await minimize(negativeLogLikelihood, coldest, hottest, { start: 1 })).x;
}

/** What the networks say of a batch's images, averaged: one distribution, (classes), for each. */
async function meanDistributions(
  networks: readonly Network[],
  { images, labels }: ImageBatch,
  { height, width, channels }: ImageShape,
) {
  const { operations } = networks[0];
  const input = operations.tensor(images, [labels.length, height, width, channels]);
  const logits = await Promise.all(
    networks.map(async (network) => {
      const output = operations.tidy(() => runNetwork(network, input));
      const values = await operations.read(output); // (batch, classes)
      output.dispose();
      return values;
    }),
  );
  input.dispose();
  const classes = networks[0].definition.outputs;
  return Array.from(labels, (label, row) => {
    const mean = new Float64Array(classes);
    for (const values of logits) {
      const ofOne = softmax(values.subarray(row * classes, (row + 1) * classes));
      for (let c = 0; c < classes; c++) mean[c] += ofOne[c] / networks.length;
    }
    return { mean, label };
  });
}
