import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { selectBackend } from '../../../src/compute/backend.js';
import { imageBatches } from '../../../src/data/batches.js';
import { openDataset } from '../../../src/data/dataset.js';
import { readSubsets } from '../../../src/ensemble/subsets/subsets-file.js';
import { createLikelihoodFit } from '../../../src/evaluation/likelihood.js';
import { createMean } from '../../../src/evaluation/mean.js';
import { isFirstWithin, rankOf } from '../../../src/evaluation/rank.js';
import { softmax } from '../../../src/math/softmax.js';
import { loadGeneralist } from '../../../src/models/checkpoint.js';
import { runNetwork } from '../../../src/models/run-network.js';

const batchSize = 128;

/**
 * Test accuracy of the mean of several generalists' distributions.
 *
 * @param workspaces one for each generalist, all with the same data
 * @param ours the workspace whose kept specialists' subsets define the conditional accuracy
 */
export async function scoreGeneralists(workspaces: readonly string[], ours: string, kept: readonly number[]) {
  await selectBackend('auto');
  const { splits, image } = await openDataset(join(workspaces[0], 'dataset'));
  const { subsets } = await readSubsets(join(ours, 'subsets', 'subsets.json'));
  const covering = new Map<number, (readonly number[])[]>();
  for (const { id, classes } of subsets) {
    if (!kept.includes(id)) continue;
    for (const label of classes) covering.set(label, [...(covering.get(label) ?? []), classes]);
  }
  const networks = await Promise.all(workspaces.map((one) => loadGeneralist(join(one, 'generalist'))));
  const [top1, top5, conditional] = [createMean(), createMean(), createMean()];
  const likelihood = createLikelihoodFit();
  for await (const { images, labels } of imageBatches(splits.test, image, { batchSize })) {
    const input = tf.tensor4d(images, [labels.length, image.height, image.width, image.channels]);
    const logits = await Promise.all(
      networks.map(async (network) => {
        const output = tf.tidy(() => runNetwork(network, input));
        const values = await output.data<'float32'>(); // (batch, classes)
        output.dispose();
        return values;
      }),
    );
    input.dispose();
    const classes = networks[0].definition.outputs;
    for (const [row, label] of labels.entries()) {
      const mean = new Float64Array(classes);
      for (const values of logits) {
        const ofOne = softmax(values.subarray(row * classes, (row + 1) * classes));
        for (let c = 0; c < classes; c++) mean[c] += ofOne[c] / networks.length;
      }
      const rank = rankOf(mean, label);
      top1.add(Number(rank < 1));
      top5.add(Number(rank < 5));
      likelihood.add(label, mean);
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
  };
}
