import { readFile, writeFile } from 'node:fs/promises';
import { type ErrorCode, KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { foreignKind } from '../core/file-kind.js';

/** Writes `classes.txt`: one name a line, whose index is the label. */
export async function writeClassNames(path: string, classes: readonly string[]): Promise<void> {
  await writeFile(path, classes.map((name) => `${name}\n`).join(''));
}

/**
 * Reads `classes.txt`: one name a line, whose index is the label.
 *
 * @param options.expected how many there must be
 * @param options.code of the error when there are not
 * @param options.advice what helps then
 * @throws KdSpecError `not-found`, `not-readable`, or `code` naming both numbers
 */
export async function readClassNames(
  path: string,
  {
    expected,
    code,
    advice,
  }: { readonly expected: number; readonly code: ErrorCode; readonly advice: string },
): Promise<readonly string[]> {
  const text = await readText(path);
  const classes = linesOf(text);
  if (classes.length === expected) return classes;
  const kind = foreignKind(Buffer.from(text.slice(0, 256)));
  throw new KdSpecError(
    code,
    `${path}: expected ${expected} class names, one a line, ` +
      (kind === undefined ? `found ${classes.length}: ${advice}` : `but ${kind}`),
  );
}

/**
 * Reads class names that a person wrote down, one a line, in the order of the labels.
 *
 * @throws KdSpecError `not-found`, `not-readable`, `dataset-invalid` for an empty line or a name that comes twice
 */
export async function readAllClassNames(path: string): Promise<readonly string[]> {
  const classes = linesOf(await readText(path)).map((name) => name.normalize('NFC'));
  const seen = new Map<string, number>();
  for (const [line, name] of classes.entries()) {
    const twin = seen.get(name);
    seen.set(name, line);
    if (name.trim() !== '' && twin === undefined) continue;
    const found = twin === undefined ? 'none' : `"${name}" as in line ${twin + 1}`;
    throw new KdSpecError(
      'dataset-invalid',
      `${path}:${line + 1}: expected the name of a class of its own, found ${found}: a line is a class, the first is 0`,
    );
  }
  return classes;
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    throw asFileError(error, path, 'class names, one a line');
  });
}

function linesOf(text: string): readonly string[] {
  return text
    .replace(/^\ufeff/, '')
    .replace(/\r?\n$/, '')
    .split(/\r?\n/);
}

/** A label that is an index, or counts from 1. */
export const isWholeNumber = (label: string): boolean => /^\d{1,9}$/.test(label.trim());

/**
 * Whether labels count the classes from 1: those that are whole numbers are 1 to the number of classes, which occurs. As
 * an index from 0 that number would be out of range. Where it does not occur, nothing tells, and indices count from 0.
 */
export function countFromOne(labels: readonly string[], classes: number): boolean {
  const numbers = labels.filter(isWholeNumber).map(Number);
  return numbers.includes(classes) && numbers.every((number) => number >= 1 && number <= classes);
}
