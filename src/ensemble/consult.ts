import * as tf from '@tensorflow/tfjs';
import { logSumExp } from '../math/softmax.js';
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

/** What the generalist and the specialists that were asked say about one image. */
export interface Consultation {
  /** (classes) */
  readonly generalist: Float32Array;
  readonly specialists: readonly SpecialistLogits[];
}

/**
 * Asks the generalist about a batch, and then of each image the specialists that `choose` names.
 *
 * Parts of the network that a specialist did not retrain are not run again: it starts from the generalist's
 * features. Each specialist runs once, over the images it was chosen for.
 *
 * @param images (batch, height, width, channels), in [0, 1]
 * @param choose from the generalist's logits (classes) of an image, the positions of the specialists to ask
 * @returns one consultation an image, in order
 */
export async function consult(
  generalist: Network,
  specialists: readonly Specialist[],
  images: tf.Tensor4D,
  choose: (logits: Float32Array, image: number) => readonly number[],
): Promise<readonly Consultation[]> {
  const inputs = tf.tidy((): Record<NetworkPart, tf.Tensor> => {
    const features = runNetwork(generalist, images, { to: 'convolutions' }); // (batch, features)
    const hidden = runNetwork(generalist, features, { from: 'dense', to: 'dense' }); // (batch, hidden)
    return { convolutions: images.clone(), dense: features, head: hidden };
  });
  try {
    const rows = await rowsOf(tf.tidy(() => runNetwork(generalist, inputs.head, { from: 'head' })));
    const answers: SpecialistLogits[][] = rows.map(() => []);
    const questions = imagesBySpecialist(rows.map(choose), specialists.length);
    for (const [specialist, asked] of questions.entries()) {
      if (asked.length === 0) continue;
      const logits = await askSpecialist(specialists[specialist], inputs, asked, rows);
      for (const [place, image] of asked.entries())
        answers[image].push({ specialist, logits: logits[place] });
    }
    return rows.map((row, image) => ({ generalist: row, specialists: answers[image] }));
  } finally {
    tf.dispose(inputs);
  }
}

/**
 * The specialist's corrected logits, (s + 1), for some images of the batch.
 *
 * @param generalist its logits for every image of the batch, each (classes)
 */
async function askSpecialist(
  { config, network }: Specialist,
  inputs: Readonly<Record<NetworkPart, tf.Tensor>>,
  images: readonly number[],
  generalist: readonly Float32Array[],
): Promise<Float32Array[]> {
  const from = firstTrainedPart[config.retrain];
  const logits = tf.tidy(() => {
    const input = tf.gather(inputs[from], tf.tensor1d([...images], 'int32'));
    return runNetwork(network, input, { from }); // (images, s + 1)
  });
  const rows = await rowsOf(logits);
  const { correction, routed } = config.dustbin;
  for (const [place, row] of rows.entries()) {
    row[config.classes.length] += correction;
    if (routed === undefined) continue;
    const mass = subsetMass(generalist[images[place]], config.classes);
    row[config.classes.length] += routedCorrection(mass, routed);
  }
  return rows;
}

/** The mass that logits (classes) put on a subset. */
function subsetMass(logits: Float32Array, classes: readonly number[]): number {
  const total = logSumExp(logits);
  return classes.reduce((sum, label) => sum + Math.exp(logits[label] - total), 0);
}

/** For each specialist the images it is asked about. */
function imagesBySpecialist(chosen: readonly (readonly number[])[], specialists: number): number[][] {
  const images = Array.from({ length: specialists }, (): number[] => []);
  chosen.forEach((ofImage, image) => {
    for (const specialist of ofImage) images[specialist].push(image);
  });
  return images;
}

/** Copies a matrix to JavaScript, row by row, and disposes of it. */
async function rowsOf(matrix: tf.Tensor2D): Promise<Float32Array[]> {
  const [rows, columns] = matrix.shape;
  const values = await matrix.data<'float32'>();
  matrix.dispose();
  return Array.from({ length: rows }, (_, row) => values.slice(row * columns, (row + 1) * columns));
}
