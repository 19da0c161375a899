import { openDataset } from '../data/dataset.js';
import { type ExampleRows, openExampleRows } from '../data/example-rows.js';
import type { ClassNames } from '../models/classifier.js';

/** Images that the page shows beside predictions. */
export interface Gallery {
  /** Example images of a class. */
  examples(label: number): number;
  /** An image file; undefined beyond the last. */
  example(label: number, position: number): Promise<Uint8Array | undefined>;
  /** (images), the classes of the test images, which a person can choose from; -1 for one that the model does not have. */
  readonly testLabels: Int32Array;
  testImage(row: number): Promise<Uint8Array>;
}

const mostExamples = 6; // of a class

/**
 * The images of a workspace's data set, by the classes of a model: training images as examples, and the test images.
 *
 * @param directory of the data set
 * @param classes of the model, which are matched by name
 * @throws KdSpecError as `openDataset`
 */
export async function datasetGallery(directory: string, classes: ClassNames): Promise<Gallery> {
  const dataset = await openDataset(directory);
  const known = new Map(classes.map((name, label) => [name, label]));
  const labelOf = dataset.classes.map((name) => known.get(name) ?? -1);
  const train = await openExampleRows(dataset.splits.train);
  const test = await openExampleRows(dataset.splits.test);
  const rows = firstRows(train, labelOf, classes.length);
  return {
    examples: (label) => rows.get(label)?.length ?? 0,
    async example(label, position) {
      const row = rows.get(label)?.[position];
      return row === undefined ? undefined : train.image(row);
    },
    testLabels: test.labels.map((label) => labelOf[label]),
    testImage: (row) => test.image(row),
  };
}

/** The first rows of each class. */
function firstRows(
  { labels }: ExampleRows,
  labelOf: readonly number[],
  classes: number,
): ReadonlyMap<number, readonly number[]> {
  const rows = new Map<number, number[]>();
  const counts = new Uint8Array(classes);
  for (const [row, own] of labels.entries()) {
    const label = labelOf[own];
    if (label < 0 || counts[label] === mostExamples) continue;
    counts[label]++;
    const found = rows.get(label);
    if (found) found.push(row);
    else rows.set(label, [row]);
  }
  return rows;
}
