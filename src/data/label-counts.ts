import type { Split } from './dataset.js';
import { examples } from './examples.js';

/**
 * How many examples of each class a split has.
 *
 * @param classes number of classes
 * @returns (classes)
 * Cost: one pass over the shards, without decoding an image.
 */
export async function countLabels(split: Split, classes: number): Promise<Int32Array> {
  const counts = new Int32Array(classes);
  for await (const { label } of examples(split)) counts[label]++;
  return counts;
}
