import { join } from 'node:path';
import type { BackendName } from '../compute/backend.js';
import { KdSpecError } from '../core/errors.js';
import { placeTeacher } from '../core/teacher-files.js';
import type { ImageShape } from '../data/source.js';
import { combineTeachers, type TeacherMean } from './combine-teachers.js';
import { checkpointTeacher, ensembleTeacher } from './network-teacher.js';
import { onnxTeacher } from './onnx-teacher.js';
import { storedTeacher } from './stored-teacher.js';
import type { Teacher } from './teacher.js';

/** What teachers are opened for. */
export interface TeacherSurroundings {
  /** Where `generalist` and `ensemble` stand. */
  readonly workspace: string;
  readonly backend: BackendName;
  /** Of the student. */
  readonly classes: number;
  readonly image: ImageShape;
  /** Images of the transfer set. */
  readonly transferRows: number;
}

/**
 * Opens teachers and makes one of them.
 *
 * @param names `ensemble`, `generalist`, or paths: see {@link placeTeacher}
 * @throws KdSpecError `not-found`, `option-invalid` for other classes than the student's, and what each kind throws
 */
export async function openTeachers(
  names: readonly string[],
  mean: TeacherMean,
  surroundings: TeacherSurroundings,
): Promise<Teacher> {
  const opened: Teacher[] = [];
  try {
    for (const name of names) opened.push(await openTeacher(name, surroundings));
    const teacher = combineTeachers(opened, mean);
    if (teacher.classes !== surroundings.classes) {
      throw new KdSpecError(
        'option-invalid',
        `expected a teacher of the data set's ${surroundings.classes} classes, ${teacher.name} has ${teacher.classes}`,
      );
    }
    return teacher;
  } catch (error) {
    for (const teacher of opened) teacher.dispose();
    throw error;
  }
}

async function openTeacher(
  name: string,
  { workspace, backend, classes, image, transferRows }: TeacherSurroundings,
): Promise<Teacher> {
  if (name === 'generalist') return checkpointTeacher('the generalist', join(workspace, 'generalist'));
  if (name === 'ensemble') return ensembleTeacher('the ensemble', workspace, { backend });
  const { kind, path } = placeTeacher(name);
  switch (kind) {
    case 'onnx':
      return onnxTeacher(name, path, image);
    case 'checkpoint':
      return checkpointTeacher(name, path);
    case 'ensemble':
      return ensembleTeacher(name, path, { backend });
    case 'predictions':
      return storedTeacher(name, path, { classes, rows: transferRows });
    case 'unknown':
      throw new KdSpecError(
        'not-found',
        `no teacher at ${path}: expected the folder of a checkpoint (config.json and model.safetensors), of a ` +
          'workspace, of predictions (*.arrow), or an .onnx file',
      );
  }
}
