import { join } from 'node:path';
import { type BackendName, selectBackend } from '../compute/backend.js';
import { KdSpecError } from '../core/errors.js';
import { type ImageShape, imageSizeOf } from '../data/source.js';
import { loadNetworkEnsemble } from '../ensemble/ensemble.js';
import { readBackbone, readDefinition } from '../models/checkpoint.js';
import { type Classifier, type ClassNames, createClassifier } from '../models/classifier.js';
import { type ClassifierMean, meanClassifier } from '../models/mean-classifier.js';
import { loadNetworkClassifier } from '../models/network-classifier.js';
import { findImageInput } from '../models/onnx/image-input.js';
import { readOnnxModel } from '../models/onnx/model-file.js';
import { openOnnxClassifier } from '../models/onnx/onnx-classifier.js';
import { storedClassifier } from '../models/stored-classifier.js';
import { placeTeacher } from './teacher-places.js';

/** What teachers are opened for. */
export interface TeacherSurroundings {
  /** Where `generalist` and `ensemble` stand. */
  readonly workspace: string;
  readonly backend: BackendName;
  /** Of the student. */
  readonly classes: ClassNames;
  readonly image: ImageShape;
  /** Images of the transfer set. */
  readonly transferRows: number;
  /** Reads the labels of the transfer set, (rows), -1 for one that is not known; undefined where none is. */
  readonly transferLabels: () => Promise<Int32Array | undefined>;
  /** Gets a sentence for each thing that was assumed of a foreign model. */
  readonly note: (text: string) => void;
  /** Gets a sentence for what is probably wrong. */
  readonly warn: (text: string) => void;
}

const checkedRows = 2000; // labelled rows of stored predictions that are compared with their labels

/**
 * Opens teachers and makes one classifier of them, with the student's classes in the student's order.
 *
 * @param names `ensemble`, `generalist`, or paths: see {@link placeTeacher}
 * @throws KdSpecError `not-found`, `option-invalid` for other classes than the student's or images of another shape,
 * and what each kind throws
 */
export async function openTeachers(
  names: readonly string[],
  mean: ClassifierMean,
  surroundings: TeacherSurroundings,
): Promise<Classifier> {
  const opened: Classifier[] = [];
  try {
    for (const name of names) {
      const teacher = await openTeacher(name, surroundings);
      opened.push(teacher);
      if (teacher.input.kind === 'images') checkShape(teacher.name, teacher.input.image, surroundings.image);
      const ordered = inOrderOf(teacher, surroundings);
      opened[opened.length - 1] = ordered;
      if (ordered.input.kind === 'rows') await checkStored(ordered, surroundings);
    }
    return meanClassifier(opened, mean);
  } catch (error) {
    for (const teacher of opened) teacher.dispose();
    throw error;
  }
}

async function openTeacher(name: string, surroundings: TeacherSurroundings): Promise<Classifier> {
  const { workspace, classes, backend, transferRows, transferLabels, note, warn } = surroundings;
  const network = async (directory: string, title: string) =>
    loadNetworkClassifier(directory, (await selectBackend(backend)).operations, { name: title });
  if (name === 'generalist') return network(join(workspace, 'generalist'), 'the generalist');
  if (name === 'ensemble') return loadNetworkEnsemble(workspace, { backend, asTeacher: true });
  const { kind, path } = placeTeacher(name);
  switch (kind) {
    case 'onnx':
      return openOnnxClassifier(path, { fallbackClasses: classes, given: surroundings.image, note });
    case 'checkpoint':
      return network(path, name);
    case 'ensemble':
      return loadNetworkEnsemble(path, { backend, name, asTeacher: true });
    case 'predictions':
      return storedClassifier(path, { name, classes, rows: transferRows, rowLabels: transferLabels, warn });
    case 'unknown':
      throw new KdSpecError(
        'not-found',
        `no teacher at ${path}: expected the folder of a checkpoint (config.json and model.safetensors), of a ` +
          'workspace, of predictions (*.arrow, *.feather), or an .onnx file',
      );
  }
}

/**
 * Whether a classifier is right no more often than by chance: what it was given is then in another order than it takes.
 *
 *     right / examples <= 1 / classes + 3 standard deviations
 */
export function isByChance(right: number, examples: number, classes: number): boolean {
  const chance = 1 / classes;
  return right / examples <= chance + 3 * Math.sqrt((chance * (1 - chance)) / examples);
}

/** Compares stored predictions with the labels of the images that they were stored for, as far as these are known. */
async function checkStored(
  teacher: Classifier,
  { transferLabels, warn }: TeacherSurroundings,
): Promise<void> {
  const labels = await transferLabels();
  if (labels === undefined) return;
  const labelled = Int32Array.from(labels.keys()).filter((row) => labels[row] >= 0);
  const stride = Math.max(1, Math.floor(labelled.length / checkedRows));
  const rows = labelled.filter((_, position) => position % stride === 0);
  if (rows.length === 0) return;
  const classes = teacher.classes.length;
  let right = 0;
  for (const row of rows) {
    const one = { images: new Float32Array(), count: 1, rows: Int32Array.of(row) };
    const probabilities = await teacher.probabilities(one);
    const largest = probabilities.reduce(
      (best, value, label) => (value > probabilities[best] ? label : best),
      0,
    );
    if (largest === labels[row]) right++;
  }
  if (!isByChance(right, rows.length, classes)) return;
  warn(
    `${teacher.name} gets ${right} of ${rows.length} labelled images right, as many as by chance: check that its row r ` +
      "is image r of the transfer set, and that its classes stand in the data set's order (dataset/classes.txt), or " +
      'write their names into the metadata of the file (kd-spec.names, a JSON list): they are then matched by name',
  );
}

/**
 * Finds out, before a data set is made, whether a teacher outside the workspace takes its images, as far as the
 * teacher's files say so: those of a checkpoint on a foreign model, and stored predictions, do not.
 *
 * @param name a path: see {@link placeTeacher}
 * @param image of the data set
 * @throws KdSpecError `option-invalid` for images of another shape, and what reading the description of each kind throws
 * Cost: reads an ONNX file, and runs nothing.
 */
export async function expectTeacherTakes(name: string, image: ImageShape): Promise<void> {
  const { kind, path } = placeTeacher(name);
  if (kind === 'onnx') {
    const input = await findImageInput(await readOnnxModel(path), { given: image });
    checkShape(path, input.image, image);
    return;
  }
  if (kind !== 'checkpoint' && kind !== 'ensemble') return;
  const folder = kind === 'ensemble' ? join(path, 'generalist') : path;
  const isOurs = (await readBackbone(folder)) === undefined;
  if (isOurs) checkShape(name, (await readDefinition(folder)).input, image);
}

/** The augmented images of a transfer set are drawn once, for teacher and student alike. */
function checkShape(name: string, image: ImageShape, { height, width, channels }: ImageShape): void {
  if (image.height === height && image.width === width && image.channels === channels) return;
  const text = (shape: ImageShape) =>
    `${shape.height} x ${shape.width} in ${shape.channels === 1 ? 'grey' : 'colour'}`;
  throw new KdSpecError(
    'option-invalid',
    `${name} takes images of ${text(image)}, the data set has ${text({ height, width, channels })}: ` +
      `make the data set for it (--image-size ${imageSizeOf(image)} --channels ${image.channels})`,
  );
}

/** A teacher whose classes stand in another order is brought into the student's, by their names. */
function inOrderOf(teacher: Classifier, { classes, note }: TeacherSurroundings): Classifier {
  if (teacher.classes.length !== classes.length) {
    throw new KdSpecError(
      'option-invalid',
      `expected a teacher of the data set's ${classes.length} classes, ${teacher.name} has ${teacher.classes.length}: use a teacher ` +
        'of the same classes, or give its model as --onnx, so that the data set has all of its classes',
    );
  }
  if (teacher.classes.every((name, index) => name === classes[index])) return teacher;
  const places = new Map(teacher.classes.map((name, index) => [name, index]));
  const order = classes.map((name) => places.get(name) ?? -1);
  const missing = order.indexOf(-1);
  if (missing !== -1) {
    throw new KdSpecError(
      'option-invalid',
      `${teacher.name} does not know the class "${classes[missing]}" of the data set; it has ` +
        `"${teacher.classes[0]}", "${teacher.classes[1] ?? ''}" and others: use a teacher of the same classes`,
    );
  }
  note(`${teacher.name} has the classes in another order: matched by name`);
  return createClassifier({
    name: teacher.name,
    classes,
    input: teacher.input,
    async logits(batch, out) {
      const logits = await teacher.logits(batch);
      for (let start = 0; start < logits.length; start += order.length)
        for (const [to, from] of order.entries()) out[start + to] = logits[start + from];
    },
    dispose: () => teacher.dispose(),
  });
}
