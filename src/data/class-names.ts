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
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw asFileError(error, path, 'class names, one a line');
  });
  const classes = text
    .replace(/^\ufeff/, '')
    .replace(/\r?\n$/, '')
    .split(/\r?\n/);
  if (classes.length === expected) return classes;
  const kind = foreignKind(Buffer.from(text.slice(0, 256)));
  throw new KdSpecError(
    code,
    `${path}: expected ${expected} class names, one a line, ` +
      (kind === undefined ? `found ${classes.length}: ${advice}` : `but ${kind}`),
  );
}
