import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { parseDocument } from 'yaml';
import { asFileError } from '../../core/file-error.js';
import { foreignKind } from '../../core/file-kind.js';
import { count } from '../../core/quantity-text.js';
import type { ClassNames } from '../classifier.js';
import { invalid } from './model-file.js';

// Class names in the forms in which files and metadata have them.

/** Class names as a text has them. */
export interface ReadNames {
  readonly names: ClassNames;
  /** Whether each is a line of the text. */
  readonly isLines: boolean;
  /** What was assumed of them. */
  readonly notes: readonly string[];
  /** Whether they are a mapping whose least index is 1. */
  readonly countsFromOne?: boolean;
}

/** Keys of a `config.json` under which names stand. */
export const configKeys = ['id2label', 'label_names', 'labels'];

export function fieldOf(value: unknown, key: string): unknown {
  const fields = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  return fields.find(([name]) => name === key)?.[1];
}

/** Names between commas, as many as there have to be: commas are common in other texts, too. */
export function commaList(text: string, lengths: readonly number[]): ReadNames | undefined {
  const names = text.split(',').map((name) => name.trim());
  const isList = lengths.includes(names.length) && names.every((name) => name !== '');
  return isList ? { names, isLines: false, notes: [] } : undefined;
}

/**
 * Reads class names from a file: a name a line; a list, a mapping from index to name or from name to index, or a
 * `config.json` that has one, in JSON; or the same in YAML, where the file is called so.
 *
 * @throws KdSpecError `not-found`, `not-readable`, `checkpoint-invalid`
 */
export async function readNames(path: string): Promise<ReadNames> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw asFileError(error, path, 'a file of class names');
  });
  const kind = foreignKind(bytes.subarray(0, 256));
  if (kind !== undefined) throw invalid(path, `expected class names, but ${kind}`);
  const isYaml = ['.yaml', '.yml'].includes(extname(path).toLowerCase());
  const text = bytes.toString('utf8');
  const read = isYaml ? namesInStructure(parseYaml(path, text)) : parseNames(text);
  if (read && read.names.length > 0) return read;
  throw invalid(
    path,
    isYaml
      ? 'expected class names: a list, or a mapping from index to name or from name to index, at the top or under "names"'
      : 'expected class names: one a line, a JSON list, or a JSON object from index to name or from name to index',
  );
}

const mostYaml = 2 ** 20; // characters: the library takes seconds for more

/** What a YAML file holds, with every scalar as it is written: `no` and `1e3` are names. */
function parseYaml(path: string, text: string): unknown {
  if (text.length > mostYaml)
    throw invalid(
      path,
      `expected YAML of at most ${count(mostYaml)} characters: write the names one a line (.txt)`,
    );
  // The library takes very long for some of these; names never need them.
  if (/(?:[[{]\s*|[-?]\s+){16}/.test(text)) throw invalid(path, 'its YAML is nested too deeply');
  try {
    // Comparing each key with all others takes a time that grows with their square; the count of names shows a gap.
    const document = parseDocument(text, { schema: 'failsafe', uniqueKeys: false, logLevel: 'error' });
    const [problem] = document.errors;
    if (problem) throw problem;
    return document.toJS();
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0].replace(/:$/, '') : String(error);
    throw invalid(path, `not YAML that can be read: ${reason}`, error);
  }
}

/** Names in JSON, in Python's notation of a dict or list, or a line each. */
export function parseNames(text: string): ReadNames | undefined {
  const plain = text.replace(/^\uFEFF/, '');
  const trimmed = plain.trim();
  if (/^[[{]/.test(trimmed)) {
    for (const candidate of [trimmed, pythonToJson(trimmed)]) {
      let value: unknown;
      try {
        value = JSON.parse(candidate);
      } catch {
        continue; // the next notation, or lines
      }
      return namesInStructure(value);
    }
  }
  // A character may be a space, so lines are not trimmed here; only what ends them goes.
  const lines = plain.split(/\r?\n/);
  while (lines.length > 0 && lines.at(-1) === '') lines.pop();
  return lines.length > 1 ? { names: lines, isLines: true, notes: [] } : undefined;
}

/** Names that are all of a structure, or stand under one of its keys. */
function namesInStructure(value: unknown): ReadNames | undefined {
  const fields = [...configKeys, 'names'].map((key) => fieldOf(value, key));
  return [value, ...fields].map(namesIn).find((read) => read);
}

/**
 * A list of names, or a mapping from index to name, or from name to index, that leaves no gap and counts from 0 or 1. A
 * name may stand behind a code, as Keras' list of ImageNet has them.
 */
export function namesIn(value: unknown): ReadNames | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const notes: string[] = [];
  const inOrder: readonly unknown[] | undefined = Array.isArray(value) ? value : valuesByIndex(value, notes);
  if (inOrder === undefined) return undefined;
  const counts = notes.length > 0 && { countsFromOne: true };
  const isText = (name: unknown) => typeof name === 'string';
  if (inOrder.every(isText)) return { names: inOrder, isLines: false, notes, ...counts };
  const codes: string[] = [];
  const names: string[] = [];
  for (const pair of inOrder) {
    const [code, name]: readonly unknown[] = Array.isArray(pair) && pair.length === 2 ? pair : [];
    if (!isText(code) || !isText(name)) return undefined;
    codes.push(code);
    names.push(name);
  }
  notes.push(
    `the second of each two is the name ("${names[0]}"); where folders are called by the first ("${codes[0]}"), give a ` +
      'file with these, one a line (--labels FILE)',
  );
  return { names, isLines: false, notes };
}

/** The names of a mapping in the order of their indices; undefined where there is a gap or something else. */
function valuesByIndex(mapping: object, notes: string[]): unknown[] | undefined {
  const entries = Object.entries(mapping);
  const isIndex = (text: string) => /^\d{1,8}$/.test(text);
  const isWritten = (found: unknown) => typeof found === 'string' && isIndex(found);
  const isTurned =
    entries.every(([, found]) => Number.isSafeInteger(found) && found >= 0) ||
    (entries.every(([, found]) => isWritten(found)) && !entries.every(([key]) => isIndex(key)));
  const found = new Map<number, unknown>();
  for (const [key, value] of entries) {
    const [index, name] = isTurned ? [String(value), key] : [key, value];
    if (!isIndex(index)) return undefined;
    found.set(Number(index), name);
  }
  const first = found.has(0) ? 0 : 1;
  const inOrder = Array.from({ length: entries.length }, (_, at) => found.get(at + first));
  if (entries.length === 0 || found.size !== entries.length || inOrder.includes(undefined)) return undefined;
  if (first === 1) notes.push(`its indices count from 1: the first output is "${String(inOrder[0])}"`);
  return inOrder;
}

/** `{0: 'a', 1: "b's"}` as JSON. */
function pythonToJson(text: string): string {
  return text
    .replace(/"(?:[^"\\]|\\.)*"|'((?:[^'\\]|\\.)*)'/g, (whole: string, inner: string | undefined) =>
      inner === undefined ? whole : JSON.stringify(inner.replace(/\\'/g, "'")),
    )
    .replace(/([{,]\s*)(\d+)\s*:/g, '$1"$2":');
}
