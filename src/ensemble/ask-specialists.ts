import type { Operations, Tensor, Tensor4D } from '../compute/operations.js';
import type { Network } from '../models/network.js';
import type { NetworkPart } from '../models/network-definition.js';
import { runNetwork } from '../models/run-network.js';
import { firstTrainedPart, type Specialist, specialistLogits } from './specialist/specialist.js';

/** What each part of the generalist's network takes, for a batch: specialists start from it. Its owner disposes of it. */
export type PartInputs = Readonly<Record<NetworkPart, Tensor>>;

/**
 * Runs the generalist up to its head.
 *
 * @param images (batch, height, width, channels), in [0, 1]
 * @returns the images, the features (batch, features) and the hidden layer (batch, hidden)
 */
export function partInputs(generalist: Network, images: Tensor4D): PartInputs {
  const { operations } = generalist;
  return operations.tidy(() => {
    const features = runNetwork(generalist, images, { to: 'convolutions' }); // (batch, features)
    const hidden = runNetwork(generalist, features, { from: 'dense', to: 'dense' }); // (batch, hidden)
    const copy = operations.reshape(images, images.shape);
    return { convolutions: copy, dense: features, head: hidden };
  });
}

/**
 * Runs each specialist once, over the images it is asked about, and copies what they say to JavaScript at once.
 *
 * Parts of the network that a specialist did not retrain are not run again.
 *
 * @param questions for each specialist the images of the batch
 * @param hear called with each answer: (s + 1) logits, before the dustbin's correction, and the place of the image
 *   among the specialist's questions
 */
export async function askSpecialists(
  specialists: readonly Specialist[],
  inputs: PartInputs,
  questions: readonly (readonly number[])[],
  hear: (answer: { specialist: number; image: number; place: number; logits: Float32Array }) => void,
): Promise<void> {
  const asked = [...questions.keys()].filter((specialist) => questions[specialist].length > 0);
  if (asked.length === 0) return;
  const { operations } = specialists[asked[0]].network;
  const all = operations.tidy(() => {
    const spoken = asked.map((specialist) => {
      const from = firstTrainedPart[specialists[specialist].config.retrain];
      const input = imagesOf(operations, inputs[from], questions[specialist]);
      return operations.reshape(specialistLogits(specialists[specialist], input), [-1]); // (images * (s + 1))
    });
    return spoken.length === 1 ? spoken[0] : operations.concat(spoken);
  });
  const values = await operations.read(all);
  all.dispose();
  let start = 0;
  for (const specialist of asked) {
    const outputs = specialists[specialist].config.classes.length + 1;
    for (const [place, image] of questions[specialist].entries()) {
      hear({ specialist, image, place, logits: values.subarray(start, start + outputs) });
      start += outputs;
    }
  }
}

/** The rows of a tensor (batch, ...) that belong to some images. */
function imagesOf(operations: Operations, batch: Tensor, images: readonly number[]): Tensor {
  const [count, ...shape] = batch.shape;
  const matrix = operations.reshape(batch, [count, batch.size / count]);
  const rows = operations.gatherRows(matrix, operations.tensor(Int32Array.from(images), [images.length]));
  return operations.reshape(rows, [images.length, ...shape]);
}
