import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { asFileError } from '../../core/file-error.js';
import { foreignKind } from '../../core/file-kind.js';
import type { ClassNames } from '../classifier.js';
import { fusedNamesKey, invalid, type OnnxModel } from './model-file.js';

/** The classes of a foreign model. */
export interface OnnxClasses {
  /** Of every output but the blank. */
  readonly names: ClassNames;
  /** The output of a sequence recogniser that stands for no character. */
  readonly blank: number | undefined;
  /** Where the names come from, for a person. */
  readonly source: string;
  readonly notes: readonly string[];
}

/** Keys under which exporters write class names, as a list, a mapping, or a line each. */
const metadataKeys = [fusedNamesKey, 'character', 'names', 'classes', 'class_names', 'labels', 'id2label'];

/**
 * Finds the names of a model's classes: in `--labels`, in the model's metadata, or in `config.json` beside it.
 *
 * A sequence recogniser (CTC) has one output more than names, its blank, which comes first; some have one more at
 * the end, the space.
 *
 * @param outputs of the head
 * @param options.labels a file: a name a line, a JSON list, or a JSON mapping from index to name
 * @param options.blank the blank's output, where it is known
 * @throws KdSpecError `checkpoint-invalid` when there are not as many names as outputs, or a name comes twice
 */
export async function findClassNames(
  model: OnnxModel,
  outputs: number,
  {
    isSequence,
    labels,
    blank,
  }: {
    readonly isSequence: boolean;
    readonly labels?: string | undefined;
    readonly blank?: number | undefined;
  },
): Promise<OnnxClasses> {
  const found =
    labels === undefined ? await namesOfModel(model) : { names: await readNames(labels), source: labels };
  const notes: string[] = [];
  const blankAt = blank ?? (isSequence ? 0 : undefined);
  if (blankAt !== undefined && !(blankAt >= 0 && blankAt < outputs)) {
    throw invalid(model.path, `--blank ${blankAt} is no output of a model with ${outputs}`);
  }
  const expected = outputs - (blankAt === undefined ? 0 : 1);
  if (found === undefined) {
    notes.push(
      `the model has no class names: classes are called 0 to ${expected - 1} (config.json with id2label beside ` +
        'it gives them names, or --labels FILE where the model is imported)',
    );
    return {
      names: Array.from({ length: expected }, (_, index) => String(index)),
      blank: blankAt,
      source: 'none',
      notes,
    };
  }
  let { names } = found;
  if (isSequence && names.length === expected - 1 && !names.includes(' ')) {
    notes.push(`${found.source} has ${names.length} names for ${expected} characters: the last is the space`);
    names = [...names, ' '];
  }
  if (blankAt !== undefined && names.length === outputs) {
    notes.push(`the name of output ${blankAt}, "${names[blankAt]}", is left out: it is the blank`);
    names = names.toSpliced(blankAt, 1);
  }
  const bare = withoutNumbers(names);
  if (bare) {
    notes.push(`the number before each name of ${found.source} is left out: "${names[0]}" is "${bare[0]}"`);
    names = bare;
  }
  if (names.length !== expected) {
    const background =
      names.length === expected - 1 && blankAt === undefined
        ? '; if its first output is a class of no object, "background" is the first name'
        : '';
    throw invalid(
      model.path,
      `${found.source} has ${names.length} class names, the model ${expected} classes` +
        `${blankAt === undefined ? '' : ' and a blank'}: give a file with one name for each (--labels FILE)${background}`,
    );
  }
  return { names: unique(visible(names, notes), notes), blank: blankAt, source: found.source, notes };
}

/** Names of which each has its own index before it, as in `0: ash`, without these. */
function withoutNumbers(names: ClassNames): ClassNames | undefined {
  const bare: string[] = [];
  for (const [index, name] of names.entries()) {
    const [, number, rest] = /^(\d+)(?:\s*[:;,]\s*|\s+)(\S.*)$/.exec(name) ?? [];
    if (number === undefined || Number(number) !== index) return undefined;
    bare.push(rest);
  }
  return bare.length > 1 ? bare : undefined;
}

/** Names that are nothing but white space, or several lines, are written as their code points. */
function visible(names: ClassNames, notes: string[]): ClassNames {
  const isPlain = (name: string) =>
    name.trim() !== '' && !/[\p{Cc}\u2028\u2029]/u.test(name) && name === name.trim();
  const hidden = names.filter((name) => !isPlain(name));
  if (hidden.length > 0)
    notes.push(`${hidden.length} class names that cannot be seen are written as code points`);
  const points = (name: string) =>
    Array.from(
      name,
      (point) => `U+${(point.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`,
    );
  return names.map((name) => (isPlain(name) ? name : points(name).join(' ') || 'U+'));
}

/** Names that come twice are told apart by their index, which is said. */
function unique(names: ClassNames, notes: string[]): ClassNames {
  const seen = new Set<string>();
  let repeated = 0;
  let example = '';
  const distinct = names.map((name, index) => {
    if (!seen.has(name)) {
      seen.add(name);
      return name;
    }
    repeated++;
    example ||= name;
    const renamed = `${name} (${index})`;
    seen.add(renamed);
    return renamed;
  });
  if (repeated > 0)
    notes.push(`${repeated} class names come twice, e.g. "${example}": their index was added`);
  return distinct;
}

/** Keys of a `config.json` under which names stand. */
const configKeys = ['id2label', 'label_names', 'labels'];

function fieldOf(value: unknown, key: string): unknown {
  const fields = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  return fields.find(([name]) => name === key)?.[1];
}

interface Found {
  readonly names: ClassNames;
  readonly source: string;
}

async function namesOfModel(model: OnnxModel): Promise<Found | undefined> {
  for (const key of metadataKeys) {
    const text = model.metadata.get(key);
    const names = text === undefined ? undefined : parseNames(text);
    if (names) return { names, source: `the model's metadata ("${key}")` };
  }
  const path = join(dirname(model.path), 'config.json');
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const config: unknown = JSON.parse(text);
    for (const key of configKeys) {
      const names = namesIn(fieldOf(config, key));
      if (names) return { names, source: `${path} ("${key}")` };
    }
  } catch {
    return undefined; // what it says of the images is noted where those are read
  }
  return undefined;
}

/**
 * Reads class names from a file: a name a line, a JSON list, a JSON mapping from index to name or from name to index, or
 * a `config.json` that has one.
 *
 * @throws KdSpecError `not-found`, `not-readable`, `checkpoint-invalid`
 */
export async function readNames(path: string): Promise<ClassNames> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw asFileError(error, path, 'a file of class names');
  });
  const kind = foreignKind(bytes.subarray(0, 256));
  if (kind !== undefined) throw invalid(path, `expected class names, but ${kind}`);
  const names = parseNames(bytes.toString('utf8'));
  if (names && names.length > 0) return names;
  throw invalid(
    path,
    'expected class names: one a line, a JSON list, or a JSON object from index to name or from name to index',
  );
}

/** Names in JSON, in Python's notation of a dict or list, or a line each. */
export function parseNames(text: string): ClassNames | undefined {
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
      return [value, ...configKeys.map((key) => fieldOf(value, key))].map(namesIn).find((names) => names);
    }
  }
  // A character may be a space, so lines are not trimmed; only what ends them goes.
  const lines = plain.split(/\r?\n/);
  while (lines.length > 0 && lines.at(-1) === '') lines.pop();
  return lines.length > 1 ? lines : undefined;
}

/** A list of names, or a mapping from index to name, or from name to index, that leaves no gap. */
function namesIn(value: unknown): ClassNames | undefined {
  if (Array.isArray(value)) return value.every((name) => typeof name === 'string') ? value : undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  const names: string[] = [];
  const isTurned = Object.values(value).every((index) => Number.isSafeInteger(index) && index >= 0);
  for (const [key, found] of Object.entries(value)) {
    const [index, name]: readonly [string, unknown] = isTurned ? [String(found), key] : [key, found];
    if (!/^\d{1,8}$/.test(index) || typeof name !== 'string') return undefined;
    names[Number(index)] = name;
  }
  return names.length > 0 && Object.keys(names).length === names.length ? names : undefined;
}

/** `{0: 'a', 1: "b's"}` as JSON. */
function pythonToJson(text: string): string {
  return text
    .replace(/"(?:[^"\\]|\\.)*"|'((?:[^'\\]|\\.)*)'/g, (whole: string, inner: string | undefined) =>
      inner === undefined ? whole : JSON.stringify(inner.replace(/\\'/g, "'")),
    )
    .replace(/([{,]\s*)(\d+)\s*:/g, '$1"$2":');
}
