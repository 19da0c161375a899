import type { Dataset } from '../data/dataset.js';
import type { Network } from '../models/network.js';
import { type BiasExample, biasExample, countCorrect, fitUnseenBias } from './bias-correction.js';
import { runImages, type SplitAccuracy, splitAccuracy, splitImages } from './run-split.js';

/** The correction of a student that never saw some classes, as `bias.json` keeps it. */
export type StudentBias = {
  /** The classes of which the transfer set had no image. */
  readonly classes: readonly number[];
  /** What was added to their biases; 0 when no other is better on validation. */
  readonly offset: number;
  readonly fittedOn: 'validation';
  readonly validation: { readonly before: SplitAccuracy; readonly after: SplitAccuracy };
  readonly test: { readonly before: SplitAccuracy };
  /** Only where it was asked for: the offset that is best on the test itself. It is not used. */
  readonly testTuned?: { readonly offset: number; readonly test: SplitAccuracy };
};

/**
 * Fits the bias of the classes that a student never saw, on validation, and adds it to the student's head.
 *
 * @param network changed in place
 * @param unseen at least one class, and not all
 * @param options.testTuned whether to report, beside it, the offset that is best on the test
 */
export async function correctStudent(
  network: Network,
  dataset: Dataset,
  unseen: readonly number[],
  { testTuned, signal }: { readonly testTuned: boolean; readonly signal: AbortSignal },
): Promise<StudentBias> {
  const { image, splits } = dataset;
  const isUnseen = unseenMask(unseen, network.definition.outputs);
  const measure = (split: 'validation' | 'test') =>
    splitAccuracy(network, splits[split], { signal, isUnseen });
  const examplesOf = async (split: 'validation' | 'test') => {
    const examples: BiasExample[] = [];
    await runImages(
      network,
      splitImages(splits[split], image),
      (label, logits) => examples.push(biasExample(label, logits, isUnseen)),
      { signal },
    );
    return examples;
  };

  const before = { validation: await measure('validation'), test: await measure('test') };
  const { offset } = fitUnseenBias(await examplesOf('validation'));
  const tuned = testTuned ? tunedOnTest(await examplesOf('test'), isUnseen) : undefined;
  const bias = network.variable('head.bias');
  const values = (await bias.data<'float32'>()).slice();
  for (const label of unseen) values[label] += offset;
  network.assign(new Map([['head.bias', { shape: bias.shape, values }]]));
  return {
    classes: unseen,
    offset,
    fittedOn: 'validation',
    validation: { before: before.validation, after: await measure('validation') },
    test: { before: before.test },
    ...(tuned && { testTuned: tuned }),
  };
}

function tunedOnTest(examples: readonly BiasExample[], isUnseen: Uint8Array) {
  const { offset, correct } = fitUnseenBias(examples);
  const unseen = examples.filter(({ label }) => isUnseen[label] === 1);
  return {
    offset,
    test: {
      examples: examples.length,
      errors: examples.length - correct,
      top1: correct / examples.length,
      unseen: { examples: unseen.length, errors: unseen.length - countCorrect(unseen, offset) },
    },
  };
}

/** (classes), 1 where a class is unseen. */
export function unseenMask(unseen: readonly number[], classes: number): Uint8Array {
  const mask = new Uint8Array(classes);
  for (const label of unseen) mask[label] = 1;
  return mask;
}
