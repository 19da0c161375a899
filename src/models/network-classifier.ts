import { join } from 'node:path';
import type { Operations, Tensor2D, Tensor4D } from '../compute/operations.js';
import { readClassNames } from '../data/class-names.js';
import { classesName } from '../data/dataset-files.js';
import { loadGeneralist } from './checkpoint.js';
import { type Classifier, type ClassNames, createClassifier, type ImageBatch } from './classifier.js';
import type { Network } from './network.js';
import { runNetwork } from './run-network.js';

/** Images that go through a network at once, and bytes of their logits: what a cache does not hold is slower. */
const chunkImages = 128;
const chunkBytes = 2 ** 23;

/** The most images to give a network at once, so that what it computes of them stays in the processor's cache. */
export function chunkSize(classes: number): number {
  return Math.max(1, Math.min(chunkImages, Math.floor(chunkBytes / (4 * classes))));
}

/**
 * A network with the names of its classes as a classifier, which owns the network.
 *
 * @param options.name for a person
 * @param options.classes one for each output
 */
export function networkClassifier(
  network: Network,
  { name, classes }: { readonly name: string; readonly classes: ClassNames },
): Classifier {
  const { operations, definition } = network;
  const { input, outputs } = definition;
  const run =
    (compute: (images: Tensor4D) => Tensor2D) =>
    async (batch: ImageBatch, out: Float32Array): Promise<void> => {
      const { count } = batch;
      const inputs = await network.inputsOf(batch);
      const most = chunkSize(outputs);
      const size = input.height * input.width * input.channels;
      for (let start = 0; start < count; start += most) {
        const chunk = Math.min(most, count - start);
        const predicted = operations.tidy(() => {
          const values = inputs.subarray(start * size, (start + chunk) * size);
          return compute(operations.tensor(values, [chunk, input.height, input.width, input.channels]));
        });
        try {
          out.set(operations.valuesInPlace(predicted) ?? (await operations.read(predicted)), start * outputs);
        } finally {
          predicted.dispose();
        }
      }
    };
  return createClassifier({
    name,
    classes,
    input: network.images,
    logits: run((images) => runNetwork(network, images)),
    probabilities: run((images) => operations.softmax(runNetwork(network, images))),
    dispose: () => network.dispose(),
  });
}

/**
 * Loads a generalist or a student, with the names of its classes, from its artefact folder onto a backend.
 *
 * @throws KdSpecError `not-found` or `checkpoint-invalid`
 */
export async function loadNetworkClassifier(
  directory: string,
  operations: Operations,
  { name }: { readonly name: string },
): Promise<Classifier> {
  const network = await loadGeneralist(directory, operations);
  try {
    return networkClassifier(network, {
      name,
      classes: await networkClassNames(directory, network.definition.outputs),
    });
  } catch (error) {
    network.dispose();
    throw error;
  }
}

/**
 * Reads the names of a network's classes, `classes.txt` beside its checkpoint.
 *
 * @param expected how many there have to be
 * @throws KdSpecError `checkpoint-invalid`
 */
export async function networkClassNames(directory: string, expected: number): Promise<ClassNames> {
  return readClassNames(join(directory, classesName), {
    expected,
    code: 'checkpoint-invalid',
    advice: `delete ${directory} and make it again`,
  });
}
