import { join } from 'node:path';
import type { Operations, Tensor, Tensor2D } from '../compute/operations.js';
import { readClassNames } from '../data/class-names.js';
import { classesName } from '../data/dataset-files.js';
import { loadGeneralist, readOriginal } from './checkpoint.js';
import { type Classifier, type ClassNames, createClassifier, type ImageBatch } from './classifier.js';
import { type Network, networkFromTensors } from './network.js';
import { chunkImages, imageShapeOf, runInChunks, runNetwork } from './run-network.js';

const chunkBytes = 2 ** 23; // of logits: what a cache does not hold is slower
const leastChunk = 8; // images: each chunk reads the whole head, which very many classes make larger than a cache

/** The most images to give a network at once, so that what it computes of them stays in the processor's cache. */
export function chunkSize(classes: number): number {
  return Math.max(leastChunk, Math.min(chunkImages, Math.floor(chunkBytes / (4 * classes))));
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
  const { operations } = network;
  const options = { shape: imageShapeOf(network), most: chunkSize(network.definition.outputs) };
  const predict =
    (run: (images: Tensor) => Tensor2D) =>
    async (batch: ImageBatch, out: Float32Array): Promise<void> =>
      runInChunks(network, await network.inputsOf(batch), out, { ...options, count: batch.count, run });
  return createClassifier({
    name,
    classes,
    input: network.images,
    logits: predict((images) => runNetwork(network, images)),
    probabilities: predict((images) => operations.softmax(runNetwork(network, images))),
    dispose: () => network.dispose(),
  });
}

/**
 * Loads a generalist or a student, with the names of its classes, from its artefact folder onto a backend.
 *
 * @param options.store as `loadGeneralist` takes it
 * @throws KdSpecError `not-found` or `checkpoint-invalid`
 */
export async function loadNetworkClassifier(
  directory: string,
  operations: Operations,
  { name, store }: { readonly name: string; readonly store?: string | undefined },
): Promise<Classifier> {
  const network = await loadGeneralist(directory, operations, { store });
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
 * An imported model as it came, where the generalist has another last layer: what gain and harm are measured against.
 *
 * @param directory of the generalist
 * @param generalist whose backbone it runs on, and which outlives it
 * @returns none where the generalist is the model as it came, or was trained here
 * @throws KdSpecError `checkpoint-invalid`
 */
export async function loadOriginal(directory: string, generalist: Network): Promise<Classifier | undefined> {
  const { operations, definition, backbone } = generalist;
  const tensors = await readOriginal(directory, definition);
  if (tensors === undefined) return undefined;
  const classes = await networkClassNames(directory, definition.outputs);
  const borrowed = backbone && { ...backbone, dispose: () => {} };
  const network = networkFromTensors(operations, definition, tensors, borrowed);
  return networkClassifier(network, { name: 'the model as it was', classes });
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
