import * as tf from '@tensorflow/tfjs';
import { dense } from '../compute/operations/dense.js';
import type { Network } from '../models/network.js';
import { askSpecialists, partInputs } from './ask-specialists.js';
import type { FusionSettings } from './calibration/calibrated-fusion.js';
import { createRowFuser, type HeardAnswer } from './calibration/row-fuser.js';
import { correctionOf, rowsOf } from './consult.js';
import type { Specialist } from './specialist/specialist.js';

/** Bytes of logits that become distributions at once: more than a cache holds is slower. */
const chunkBytes = 2 ** 23;

/** A distribution an image, each (classes); several share one array. */
export type Rows = readonly Float32Array[];

/**
 * The generalist's distributions for a batch.
 *
 * @param images (batch, height, width, channels), in [0, 1]
 */
export async function predictGeneralist(generalist: Network, images: tf.Tensor4D): Promise<Rows> {
  const inputs = partInputs(generalist, images);
  try {
    const rows: Float32Array[] = [];
    for await (const [chunk] of distributions(generalist, inputs.head as tf.Tensor2D, [1]))
      rows.push(...chunk);
    return rows;
  } finally {
    tf.dispose(inputs);
  }
}

/** Answers batch after batch, (batch, height, width, channels) in [0, 1]. */
export type Predictor = (images: tf.Tensor4D) => Promise<Rows>;

/**
 * Returns the ensemble as a function from a batch to the fused distributions alone: `Ensemble.distributions` without
 * what only an inspection wants, in single precision.
 *
 * The generalist's softmax, at its temperature, becomes the fused distribution in place. The images of a batch go
 * through the generalist's head in chunks, and through each specialist at once: the more images, the fewer calls.
 *
 * @param route from the generalist's distribution over the classes, the specialists to ask, by position
 * @param options.routesByMass whether `route` needs the distribution at temperature 1; else any will do that orders
 *   the classes alike
 * @returns a function that throws KdSpecError `fusion-input` if an output of a network is not a number
 */
export function createPredictor(
  generalist: Network,
  specialists: readonly Specialist[],
  settings: FusionSettings,
  route: (probabilities: Float32Array) => readonly number[],
  { routesByMass }: { readonly routesByMass: boolean },
): Predictor {
  const { generalistTemperature: temperature } = settings;
  const subsets = specialists.map(({ config }) => Int32Array.from(config.classes));
  const fuser = createRowFuser(settings, subsets, generalist.definition.outputs);
  const isRouted = specialists.some(({ config }) => config.dustbin.routed !== undefined);
  const needsPlain = temperature !== 1 && (routesByMass || (fuser.hearsDustbin && isRouted));
  const temperatures = needsPlain ? [temperature, 1] : [temperature];

  return async (images) => {
    const rows: Float32Array[] = [];
    const questions = specialists.map((): number[] => []); // images
    const corrections = specialists.map((): number[] => []); // of the dustbin, a question
    const inputs = partInputs(generalist, images);
    try {
      for await (const [softened, plain = softened] of distributions(
        generalist,
        inputs.head as tf.Tensor2D,
        temperatures,
      )) {
        for (const [place, probabilities] of plain.entries()) {
          for (const specialist of route(probabilities)) {
            questions[specialist].push(rows.length);
            corrections[specialist].push(correctionOf(specialists[specialist].config, probabilities));
          }
          rows.push(softened[place]);
        }
      }
      const answers = rows.map((): HeardAnswer[] => []);
      await askSpecialists(specialists, inputs, questions, ({ specialist, image, place, logits }) => {
        logits[logits.length - 1] += corrections[specialist][place];
        answers[image].push({ specialist, logits });
      });
      for (const [image, row] of rows.entries()) fuser.fuse(row, answers[image]);
      return rows;
    } finally {
      tf.dispose(inputs);
    }
  };
}

/**
 * The distributions of a batch at each of some temperatures, chunk by chunk.
 *
 * @param hidden (batch, hidden), the input of the head
 */
async function* distributions(
  generalist: Network,
  hidden: tf.Tensor2D,
  temperatures: readonly number[],
): AsyncGenerator<readonly Rows[]> {
  const [batch, width] = hidden.shape;
  const chunk = Math.max(1, Math.floor(chunkBytes / (4 * generalist.definition.outputs)));
  for (let first = 0; first < batch; first += chunk) {
    const count = Math.min(chunk, batch - first);
    const rows: Rows[] = [];
    for (const temperature of temperatures) {
      const softened = tf.tidy(() => {
        const part = count === batch ? hidden : tf.slice(hidden, [first, 0], [count, width]);
        return tf.softmax(headAt(generalist, part, temperature));
      });
      rows.push(await rowsOf(softened));
    }
    yield rows;
  }
}

/** The head's logits divided by a temperature: its input and its bias are, which are smaller. */
function headAt(generalist: Network, hidden: tf.Tensor2D, temperature: number): tf.Tensor2D {
  const weights = generalist.variable<tf.Rank.R2>('head.weights');
  const bias = generalist.variable<tf.Rank.R1>('head.bias');
  if (temperature === 1) return dense(hidden, weights, bias);
  return dense(tf.div(hidden, temperature), weights, tf.div<tf.Tensor1D>(bias, temperature));
}
