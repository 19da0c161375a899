import type { Dataset } from '../data/dataset.js';
import { runImages, splitImages } from '../distillation/run-split.js';
import { createAccuracy } from '../evaluation/accuracy.js';
import { loadGeneralist } from '../models/checkpoint.js';
import { countParameters } from '../models/network-definition.js';
import type { StageContext } from './stage.js';

/** The distilled student's accuracy on the images on which the ensemble was evaluated. */
export async function evaluateStudent(dataset: Dataset, { settings, signal, input }: StageContext) {
  const { split: name, maxExamples } = settings.report;
  const split = dataset.splits[name];
  const network = await loadGeneralist(input('student'));
  const accuracy = createAccuracy();
  let left = Math.min(split.rows, maxExamples ?? split.rows);
  try {
    await runImages(
      network,
      splitImages(split, dataset.image),
      (label, logits) => {
        if (left-- > 0) accuracy.add(label, logits);
      },
      { signal, maxRows: left },
    );
  } finally {
    network.dispose();
  }
  return { ...accuracy.result(), parameters: countParameters(network.definition) };
}
