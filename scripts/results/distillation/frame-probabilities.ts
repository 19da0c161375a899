import type { Operations } from '../../../src/compute/operations.js';
import { channels } from '../../../src/data/speech/mel-filter-bank.js';
import { type Utterance, windowAt, windowFrames } from '../../../src/data/speech/speech-source.js';
import { loadGeneralist } from '../../../src/models/checkpoint.js';
import { runNetwork } from '../../../src/models/run-network.js';

/**
 * What a network says about every frame of every sentence.
 *
 * @param directory of a checkpoint
 * @returns for each utterance (frames, classes), probabilities
 */
export async function frameProbabilities(
  operations: Operations,
  directory: string,
  utterances: readonly Utterance[],
): Promise<Float32Array[]> {
  const network = await loadGeneralist(directory, operations);
  const size = channels * windowFrames;
  try {
    const all: Float32Array[] = [];
    for (const { frames, labels } of utterances) {
      const images = new Float32Array(labels.length * size);
      for (let t = 0; t < labels.length; t++)
        for (const [at, pixel] of windowAt(frames, t).entries()) images[t * size + at] = pixel / 255;
      const said = operations.tidy(() => {
        const input = operations.tensor(images, [labels.length, channels, windowFrames, 1]);
        return operations.softmax(runNetwork(network, input));
      });
      all.push(await operations.read(said));
      said.dispose();
    }
    return all;
  } finally {
    network.dispose();
  }
}

/** The arithmetic mean of what several networks say. */
export async function averageProbabilities(
  operations: Operations,
  directories: readonly string[],
  utterances: readonly Utterance[],
): Promise<Float32Array[]> {
  const [first, ...others] = directories;
  const mean = await frameProbabilities(operations, first, utterances);
  for (const directory of others)
    for (const [index, values] of (await frameProbabilities(operations, directory, utterances)).entries())
      for (let at = 0; at < values.length; at++) mean[index][at] += values[at];
  for (const values of mean) for (let at = 0; at < values.length; at++) values[at] /= directories.length;
  return mean;
}
