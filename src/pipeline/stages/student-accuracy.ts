import type { Operations } from '../../compute/operations.js';
import { imageBatches } from '../../data/batches.js';
import type { Dataset } from '../../data/dataset.js';
import { createAccuracy, predictEach } from '../../models/accuracy.js';
import { readDefinition } from '../../models/checkpoint.js';
import { loadNetworkClassifier } from '../../models/network-classifier.js';
import { countParameters } from '../../models/network-definition.js';
import type { StageContext } from '../stage.js';

const batchSize = 128; // images a forward pass

/** The distilled student's accuracy on the images on which the ensemble was evaluated. */
export async function evaluateStudent(
  operations: Operations,
  { splits, image }: Dataset,
  { settings, signal, input }: StageContext,
) {
  const { split, maxExamples } = settings.report;
  const student = await loadNetworkClassifier(input('student'), operations, { name: 'the student' });
  const accuracy = createAccuracy();
  try {
    const batches = imageBatches(splits[split], image, { batchSize });
    await predictEach(student, batches, accuracy.add, { signal, maxRows: maxExamples ?? undefined });
  } finally {
    student.dispose();
  }
  return { ...accuracy.result(), parameters: countParameters(await readDefinition(input('student'))) };
}
