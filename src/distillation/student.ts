import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { type BackendName, selectBackend } from '../compute/backend.js';
import { classesName } from '../core/dataset-names.js';
import { KdSpecError } from '../core/errors.js';
import { imageFileBatches } from '../data/image-file-batches.js';
import { answerBatchSize } from '../ensemble/batch-size.js';
import { type RankedClass, rankClasses } from '../ensemble/ranked-class.js';
import { softmax } from '../math/softmax.js';
import { loadGeneralist } from '../models/checkpoint.js';
import { runNetwork } from '../models/run-network.js';

/** One network with the names of its classes, ready to answer. Owns the network until `dispose`. */
export interface Student {
  readonly classes: readonly string[];
  /**
   * Classifies image files: for each the most probable classes, descending. Many at once are faster than one by one.
   *
   * @param files paths, or the bytes of PNG, JPEG or WebP files
   * @param options.top how many classes to name
   * @throws KdSpecError `not-found`, `image-empty`, `image-unreadable`, `image-too-large`
   */
  classify(
    files: readonly (string | Uint8Array)[],
    options?: { readonly top?: number },
  ): Promise<readonly (readonly RankedClass[])[]>;
  dispose(): void;
}

/**
 * Loads a distilled student, or any checkpoint with `classes.txt` beside it.
 *
 * @param directory such as `kd-workspace/student`, in which `kd-spec distill` has finished
 * @throws KdSpecError `not-found` or `checkpoint-invalid` when something is missing or damaged
 *
 * @example
 * const student = await loadStudent('kd-workspace/student');
 * const [[first]] = await student.classify(['glyph.png']);
 * console.log(first.class);
 * student.dispose();
 */
export async function loadStudent(
  directory: string,
  { backend = 'auto' }: { readonly backend?: BackendName } = {},
): Promise<Student> {
  await selectBackend(backend);
  const network = await loadGeneralist(directory);
  const { input, outputs } = network.definition;
  const text = await readFile(join(directory, classesName), 'utf8').catch(() => '');
  const classes = text.trimEnd().split('\n');
  if (classes.length !== outputs) {
    network.dispose();
    throw new KdSpecError(
      'checkpoint-invalid',
      `${join(directory, classesName)}: expected ${outputs} class names, one a line; distil the student again`,
    );
  }
  return {
    classes,
    async classify(files, { top = 5 } = {}) {
      const answers: (readonly RankedClass[])[] = [];
      for await (const { images, shape } of imageFileBatches(files, input, answerBatchSize(outputs))) {
        const logits = tf.tidy(() => runNetwork(network, tf.tensor4d(images, shape)));
        const values = await logits.data<'float32'>();
        logits.dispose();
        for (let at = 0; at < values.length; at += outputs)
          answers.push(rankClasses(softmax(values.subarray(at, at + outputs)), top, classes));
      }
      return answers;
    },
    dispose: () => network.dispose(),
  };
}
