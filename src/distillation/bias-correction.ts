import type { Dataset } from '../data/dataset.js';
import { predictEach } from '../models/accuracy.js';
import type { Network } from '../models/network.js';
import { networkClassifier } from '../models/network-classifier.js';
import { type SplitAccuracy, splitAccuracy, splitImages } from './split-accuracy.js';

/** An example with a student's first choices among the classes it saw in training and among those it did not. */
export interface BiasExample {
  readonly label: number;
  readonly seen: { readonly label: number; readonly logit: number };
  readonly unseen: { readonly label: number; readonly logit: number };
}

/** See {@link fitUnseenBias}. */
export interface BiasFit {
  /** What is added to the bias of every unseen class. */
  readonly offset: number;
  /** Examples that are right with it, and without. */
  readonly correct: number;
  readonly correctBefore: number;
  readonly examples: number;
}

/**
 * The first choices of a student on both sides.
 *
 * @param logits (classes)
 * @param isUnseen (classes), 1 for a class of which the transfer set had no image; at least one of each kind
 */
export function biasExample(label: number, logits: ArrayLike<number>, isUnseen: Uint8Array): BiasExample {
  const best = [-1, -1]; // seen, unseen
  for (let index = 0; index < logits.length; index++) {
    const side = isUnseen[index];
    if (best[side] < 0 || logits[index] > logits[best[side]]) best[side] = index;
  }
  const [seen, unseen] = best.map((index) => ({ label: index, logit: logits[index] }));
  return { label, seen, unseen };
}

/**
 * The bias of the unseen classes with which most examples are right: one number added to all of them (or, which is
 * the same, taken off all the others).
 *
 * An example goes over from its first seen to its first unseen class where the offset exceeds the difference of their
 * logits. Between two such differences nothing changes, so the best offset is found exactly, by sorting them; it is
 * the middle of the widest interval that is best.
 *
 * @param examples of a validation split
 * @returns the offset, 0 when no other is better
 * Cost: a sort of the examples.
 * @see Hinton, Vinyals and Dean, arXiv 1503.02531, section 3: the bias of the 3s raised, those of 7 and 8 lowered
 */
export function fitUnseenBias(examples: readonly BiasExample[]): BiasFit {
  const turns = examples
    .map(({ label, seen, unseen }) => ({
      at: seen.logit - unseen.logit,
      change: Number(label === unseen.label) - Number(label === seen.label),
    }))
    .sort((a, b) => a.at - b.at);
  const correctBefore = countCorrect(examples, 0);
  let correct = examples.filter(({ label, seen }) => label === seen.label).length; // with an offset of -Infinity
  let best = { correct: correctBefore, offset: 0, width: Number.POSITIVE_INFINITY };
  for (let turn = 0; turn < turns.length; turn++) {
    correct += turns[turn].change;
    const from = turns[turn].at;
    const to = turns[turn + 1]?.at ?? from + 2;
    const width = to - from;
    if (width <= 0) continue;
    if (correct > best.correct || (correct === best.correct && best.offset !== 0 && width > best.width))
      best = { correct, offset: from + width / 2, width };
  }
  // Before the first turn: no unseen class at all.
  const first = turns[0];
  const none = examples.filter(({ label, seen }) => label === seen.label).length;
  if (first && none > best.correct) best = { correct: none, offset: first.at - 1, width: 2 };
  return { offset: best.offset, correct: best.correct, correctBefore, examples: examples.length };
}

/** How many examples are right with an offset. */
export function countCorrect(examples: readonly BiasExample[], offset: number): number {
  return examples.filter(
    ({ label, seen, unseen }) => label === (unseen.logit + offset > seen.logit ? unseen.label : seen.label),
  ).length;
}

/** The correction of a student that never saw some classes, as `bias.json` keeps it. */
export type StudentBias = {
  /** The classes of which the transfer set had no image. */
  readonly classes: readonly number[];
  /** What was added to their biases; 0 when no other is better on validation. */
  readonly offset: number;
  readonly fittedOn: 'validation';
  readonly validation: { readonly before: SplitAccuracy; readonly after: SplitAccuracy };
  readonly test: { readonly before: SplitAccuracy };
  /** Only where it is wanted: the offset that is best on the test itself. It is not used. */
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
  const { image, splits, classes } = dataset;
  const student = networkClassifier(network, { name: 'the student', classes });
  const isUnseen = unseenMask(unseen, classes.length);
  const measure = (split: 'validation' | 'test') =>
    splitAccuracy(student, splits[split], image, { signal, isUnseen });
  const examplesOf = async (split: 'validation' | 'test') => {
    const examples: BiasExample[] = [];
    const batches = splitImages(splits[split], image, student);
    const add = (label: number, logits: Float32Array) => examples.push(biasExample(label, logits, isUnseen));
    await predictEach(student, batches, add, { signal });
    return examples;
  };

  const before = { validation: await measure('validation'), test: await measure('test') };
  const { offset } = fitUnseenBias(await examplesOf('validation'));
  const tuned = testTuned ? tunedOnTest(await examplesOf('test'), isUnseen) : undefined;
  const bias = network.variable('head.bias');
  const values = await network.operations.read(bias);
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
