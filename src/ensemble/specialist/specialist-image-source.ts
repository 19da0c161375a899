import { openDataset } from '../../data/dataset.js';
import type { BatchSource } from '../../training/batches-ahead.js';
import { type Mixture, specialistBatches } from './specialist-examples.js';

export interface SpecialistImageParameters extends Omit<Mixture, 'skipBatches'> {
  /** The folder of the data set. */
  readonly directory: string;
  /** The subset. */
  readonly classes: readonly number[];
  readonly specialExamples: number;
  readonly otherExamples: number;
  readonly seed: number;
}

/** `specialistBatches` as one long epoch. */
export const specialistImageSource: BatchSource<SpecialistImageParameters> = {
  module: import.meta.url,
  name: 'specialistImageSource',
  async open({ directory, classes, specialExamples, otherExamples, seed, ...mixture }) {
    const dataset = await openDataset(directory);
    const members = new Set(classes);
    const isSpecial = (label: number) => members.has(label);
    const view = { dataset, isSpecial, specialExamples, otherExamples, seed };
    return { batches: (_, skipBatches) => specialistBatches(view, { ...mixture, skipBatches }) };
  },
};
