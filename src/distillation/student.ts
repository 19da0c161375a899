import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type BackendName, selectBackend } from '../compute/backend.js';
import { assert, KdSpecError } from '../core/errors.js';
import { imageFileBatches } from '../data/image-file-batches.js';
import { batchSizeFor, type Classifier, rowOf } from '../models/classifier.js';
import { loadNetworkClassifier } from '../models/network-classifier.js';
import { type RankedClass, rankClasses } from '../models/ranked-class.js';

/** One network with the names of its classes, ready to predict. Owns the network until `dispose`. */
export interface Student extends Classifier {
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
  const { operations } = await selectBackend(backend);
  const classifier = await loadNetworkClassifier(directory, operations, { name: 'the student' });
  const { classes, input } = classifier;
  assert(input.kind === 'images', 'a network that takes no images');
  return {
    ...classifier,
    async classify(files, { top = 5 } = {}) {
      const ranked: (readonly RankedClass[])[] = [];
      for await (const batch of imageFileBatches(files, input.image, batchSizeFor(classes.length))) {
        const probabilities = await classifier.probabilities(batch);
        for (let row = 0; row < batch.count; row++)
          ranked.push(rankClasses(rowOf(probabilities, row, classes.length), top, classes));
      }
      return ranked;
    },
  };
}

/**
 * The folder of a workspace's student.
 *
 * @throws KdSpecError `not-found` where the workspace has none
 */
export function studentFolder(workspace: string): string {
  const folder = join(workspace, 'student');
  if (existsSync(folder)) return folder;
  throw new KdSpecError('not-found', `no student in ${workspace}: run kd-spec distill first`);
}
