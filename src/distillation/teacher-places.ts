import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { arrowFileNames, manifestName } from '../data/dataset-files.js';

/** What stands at a path that was given as a teacher. */
export type TeacherKind = 'onnx' | 'predictions' | 'checkpoint' | 'ensemble' | 'unknown';

/** A teacher outside the workspace: what it is, and the folder or file that is loaded. */
export interface TeacherPlace {
  readonly kind: TeacherKind;
  readonly path: string;
}

/**
 * Finds out what a path is: an `.onnx` file; an Arrow file or a folder of them (predictions); a folder with
 * `config.json` (a checkpoint); a workspace, for its ensemble if it has one and else its generalist; its `ensemble/`.
 */
export function placeTeacher(path: string): TeacherPlace {
  const has = (...names: string[]) => existsSync(join(path, ...names));
  if (path.endsWith('.onnx')) return { kind: 'onnx', path };
  if (!existsSync(path)) return { kind: 'unknown', path };
  if (!statSync(path).isDirectory())
    return { kind: arrowFileNames.test(path) ? 'predictions' : 'unknown', path };
  if (has('config.json')) return { kind: 'checkpoint', path };
  if (has('ensemble', 'ensemble.json')) return { kind: 'ensemble', path };
  if (has('ensemble.json')) return { kind: 'ensemble', path: dirname(path) };
  if (has('generalist', 'config.json')) return { kind: 'checkpoint', path: join(path, 'generalist') };
  const isArrow = readdirSync(path).some((name) => arrowFileNames.test(name));
  return { kind: isArrow ? 'predictions' : 'unknown', path };
}

/** The file or folder whose content tells whether the teacher is still the same. */
export function teacherFile(path: string): string {
  const place = placeTeacher(path);
  // The manifest of an ensemble names the digests of all it was made from.
  return place.kind === 'ensemble' ? join(place.path, 'ensemble') : place.path;
}

/** The same for a transfer set: the description of a data set holds the hashes of its shards. */
export function transferFile(path: string): string {
  const description = join(path, manifestName);
  return existsSync(description) ? description : path;
}
