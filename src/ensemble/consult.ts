import * as tf from '@tensorflow/tfjs';
import type { Network } from '../models/network.js';
import type { NetworkPart } from '../models/network-definition.js';
import { runNetwork } from '../models/run-network.js';
import { routedCorrection } from './specialist/dustbin.js';
import { firstTrainedPart, type Specialist } from './specialist/specialist.js';

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
  images: tf.Tensor4D,
  choose: (answer: GeneralistAnswer, image: number) => readonly number[],
  { temperature = 1 }: { readonly temperature?: number } = {},
): Promise<readonly Consultation[]> {
  const inputs = tf.tidy((): Record<NetworkPart, tf.Tensor> => {
    const features = runNetwork(generalist, images, { to: 'convolutions' }); // (batch, features)
    const hidden = runNetwork(generalist, features, { from: 'dense', to: 'dense' }); // (batch, hidden)
    return { convolutions: images.clone(), dense: features, head: hidden };
  });
  try {
    const said = await askGeneralist(generalist, inputs.head as tf.Tensor2D, temperature);
    const answers: SpecialistLogits[][] = said.map(() => []);
    const questions = imagesBySpecialist(said.map(choose), specialists.length);
    for (const { specialist, image, logits } of await askSpecialists(specialists, inputs, questions)) {
      const { classes, dustbin } = specialists[specialist].config;
      logits[classes.length] += dustbin.correction;
      if (dustbin.routed !== undefined) {
        logits[classes.length] += routedCorrection(massOf(said[image], classes), dustbin.routed);
      }
      answers[image].push({ specialist, logits });
    }
    return said.map((answer, image) => ({ generalist: answer, specialists: answers[image] }));
  } finally {
    tf.dispose(inputs);
  }
}

/** @param hidden (batch, hidden), the input of its head */
async function askGeneralist(
  generalist: Network,
  hidden: tf.Tensor2D,
  temperature: number,
): Promise<readonly GeneralistAnswer[]> {
  const logits = tf.tidy(() => runNetwork(generalist, hidden, { from: 'head' })); // (batch, classes)
  const distributionsAt = (t: number) =>
    rowsOf(tf.tidy(() => tf.softmax(t === 1 ? logits : tf.div<tf.Tensor2D>(logits, t))));
  try {
    const probabilities = await distributionsAt(1);
    const softened = temperature === 1 ? probabilities : await distributionsAt(temperature);
    return probabilities.map((row, image) => ({ probabilities: row, softened: softened[image] }));
  } finally {
    logits.dispose();
  }
}

/**
 * What each specialist says about the images it is asked about, (s + 1) logits each, before the dustbin's correction.
 *
 * @param questions for each specialist the images
 */
async function askSpecialists(
  specialists: readonly Specialist[],
  inputs: Readonly<Record<NetworkPart, tf.Tensor>>,
  questions: readonly (readonly number[])[],
): Promise<readonly { specialist: number; image: number; logits: Float32Array }[]> {
  const asked = [...questions.keys()].filter((specialist) => questions[specialist].length > 0);
  if (asked.length === 0) return [];
  const all = tf.tidy(() => {
    const spoken = asked.map((specialist) => {
      const { config, network } = specialists[specialist];
      const from = firstTrainedPart[config.retrain];
      const input = tf.gather(inputs[from], tf.tensor1d([...questions[specialist]], 'int32'));
      return tf.reshape(runNetwork(network, input, { from }), [-1]); // (images * (s + 1))
    });
    return spoken.length === 1 ? spoken[0] : tf.concat1d(spoken as tf.Tensor1D[]);
  });
  const values = await all.data<'float32'>();
  all.dispose();
  let start = 0;
  return asked.flatMap((specialist) => {
    const outputs = specialists[specialist].config.classes.length + 1;
    return questions[specialist].map((image) => {
      const logits = values.subarray(start, start + outputs);
      start += outputs;
      return { specialist, image, logits };
    });
  });
}

/** The mass that the generalist puts on a subset. */
function massOf({ probabilities }: GeneralistAnswer, classes: readonly number[]): number {
  let mass = 0;
  for (const label of classes) mass += probabilities[label];
  return mass;
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
async function rowsOf(matrix: tf.Tensor2D): Promise<Float32Array[]> {
  const [rows, columns] = matrix.shape;
  const values = await matrix.data<'float32'>();
  matrix.dispose();
  return Array.from({ length: rows }, (_, row) => values.subarray(row * columns, (row + 1) * columns));
}
