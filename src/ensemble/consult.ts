import type { Operations, Tensor2D, Tensor4D } from '../compute/operations.js';
import type { Network } from '../models/network.js';
import { runNetwork } from '../models/run-network.js';
import { askSpecialists, partInputs } from './ask-specialists.js';
import { routedCorrection } from './specialist/dustbin.js';
import type { Specialist, SpecialistConfig } from './specialist/specialist.js';

/** What one specialist says about one image. */
export interface SpecialistLogits {
  /** Position of the specialist. */
  readonly specialist: number;
  /** (s + 1), the dustbin last, its correction added. */
  readonly logits: Float32Array;
}

/** What the generalist says about one image. */
export interface GeneralistAnswer {
  /** (classes), at temperature 1. */
  readonly probabilities: Float32Array;
  /** (classes), at the temperature that was asked for. */
  readonly softened: Float32Array;
}

/** What the generalist and the specialists that were asked say about one image. */
export interface Consultation {
  readonly generalist: GeneralistAnswer;
  readonly specialists: readonly SpecialistLogits[];
}

/**
 * Asks the generalist about a batch, and then of each image the specialists that `choose` names.
 *
 * Parts of the network that a specialist did not retrain are not run again: it starts from the generalist's
 * features. Each specialist runs once, over the images it was chosen for; everything that the specialists say is
 * copied to JavaScript at once.
 *
 * @param images (batch, height, width, channels), in [0, 1]
 * @param choose from the generalist's answer about an image, the positions of the specialists to ask
 * @param options.temperature of the generalist's softened distribution (default 1)
 * @returns one consultation an image, in order
 */
export async function consult(
  generalist: Network,
  specialists: readonly Specialist[],
  images: Tensor4D,
  choose: (answer: GeneralistAnswer, image: number) => readonly number[],
  { temperature = 1 }: { readonly temperature?: number } = {},
): Promise<readonly Consultation[]> {
  const inputs = partInputs(generalist, images);
  try {
    const said = await askGeneralist(generalist, inputs.head as Tensor2D, temperature);
    const answers: SpecialistLogits[][] = said.map(() => []);
    const questions = imagesBySpecialist(said.map(choose), specialists.length);
    await askSpecialists(specialists, inputs, questions, ({ specialist, image, logits }) => {
      logits[logits.length - 1] += correctionOf(specialists[specialist].config, said[image].probabilities);
      answers[image].push({ specialist, logits });
    });
    return said.map((answer, image) => ({ generalist: answer, specialists: answers[image] }));
  } finally {
    generalist.operations.dispose(inputs);
  }
}

/** @param hidden (batch, hidden), the input of its head */
async function askGeneralist(
  generalist: Network,
  hidden: Tensor2D,
  temperature: number,
): Promise<readonly GeneralistAnswer[]> {
  const { operations } = generalist;
  const logits = operations.tidy(() => runNetwork(generalist, hidden, { from: 'head' })); // (batch, classes)
  const distributionsAt = (t: number) =>
    rowsOf(
      operations,
      operations.tidy(() => operations.softmax(t === 1 ? logits : operations.div(logits, t))),
    );
  try {
    const probabilities = await distributionsAt(1);
    const softened = temperature === 1 ? probabilities : await distributionsAt(temperature);
    return probabilities.map((row, image) => ({ probabilities: row, softened: softened[image] }));
  } finally {
    logits.dispose();
  }
}

/**
 * What a specialist's dustbin logit is raised by for one image.
 *
 * @param generalist its distribution at temperature 1, (classes)
 */
export function correctionOf(
  { classes, dustbin: { correction, routed } }: SpecialistConfig,
  generalist: Float32Array,
): number {
  if (routed === undefined) return correction;
  let mass = 0;
  for (const label of classes) mass += generalist[label];
  return correction + routedCorrection(mass, routed);
}

/** For each specialist the images it is asked about. */
function imagesBySpecialist(chosen: readonly (readonly number[])[], specialists: number): number[][] {
  const images = Array.from({ length: specialists }, (): number[] => []);
  chosen.forEach((ofImage, image) => {
    for (const specialist of ofImage) images[specialist].push(image);
  });
  return images;
}

/** Copies a matrix to JavaScript and disposes of it; its rows share one array. */
export async function rowsOf(operations: Operations, matrix: Tensor2D): Promise<readonly Float32Array[]> {
  const values = await operations.read(matrix);
  matrix.dispose();
  return rowsIn(values, matrix.shape[1]);
}

/** The rows of a matrix that lie one after the other. */
export function rowsIn(values: Float32Array, columns: number): readonly Float32Array[] {
  return Array.from({ length: values.length / columns }, (_, row) =>
    values.subarray(row * columns, (row + 1) * columns),
  );
}
