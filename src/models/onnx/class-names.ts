import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { count } from '../../core/quantity-text.js';
import { isVisible, visibleName } from '../../core/visible-name.js';
import type { ClassNames } from '../classifier.js';
import { fusedNamesKey, invalid, type OnnxModel } from './model-file.js';
import {
  commaList,
  configKeys,
  fieldOf,
  namesIn,
  parseNames,
  type ReadNames,
  readNames,
} from './name-lists.js';

/** The classes of a foreign model. */
export interface OnnxClasses {
  /** Of every output but the blank. */
  readonly names: ClassNames;
  /** The output of a sequence recogniser that stands for no character. */
  readonly blank: number | undefined;
  /** Where the names come from, for a person. */
  readonly source: string;
  readonly notes: readonly string[];
  /** A sentence for each key of `config.json` that names classes and cannot be read. */
  readonly warnings: readonly string[];
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
 * @param options.labels a file as {@link readNames} takes it
 * @param options.blank the blank's output, where it is known
 * @throws KdSpecError `option-invalid` when there are not as many names as outputs; `checkpoint-invalid` when there are
 * fewer than two classes
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
  const notes: string[] = [];
  const blankAt = blank ?? (isSequence ? 0 : undefined);
  if (blankAt !== undefined && !(blankAt >= 0 && blankAt < outputs)) {
    throw new KdSpecError(
      'option-invalid',
      `${model.path}: --blank ${blankAt} is no output of a model with ${outputs}: give 0 to ${outputs - 1}`,
    );
  }
  const expected = outputs - (blankAt === undefined ? 0 : 1);
  if (expected < 2) throw invalid(model.path, tooFew(outputs, expected));
  const { found, unread, warnings } =
    labels === undefined
      ? await namesOfModel(model, [expected, outputs])
      : { found: { ...(await readNames(labels)), source: labels }, unread: [], warnings: [] };
  if (found === undefined) {
    const keys = unread.map((key) => `"${key}"`).join(' and ');
    const metadata =
      keys && ` (its metadata have ${keys}, which cannot be read as a list of ${expected} names)`;
    notes.push(
      `the model has no class names${metadata}: classes are called 0 to ${expected - 1} (config.json with id2label beside ` +
        'it gives them names, or --labels FILE where the model is imported)',
    );
    return {
      names: Array.from({ length: expected }, (_, index) => String(index)),
      blank: blankAt,
      source: 'none',
      notes,
      warnings,
    };
  }
  let { names } = found;
  notes.push(...found.notes.map((note) => `${found.source}: ${note}`));
  const bare = withoutNumbers(names);
  if (bare) {
    const from = bare.first === 0 ? '' : `, which counts from ${bare.first},`;
    notes.push(
      `the number before each name of ${found.source}${from} is left out: "${names[0]}" is "${bare.names[0]}"`,
    );
    names = bare.names;
  }
  if (isSequence && names.length === expected - 1 && !names.includes(' ')) {
    notes.push(`${found.source} has ${names.length} names for ${expected} characters: the last is the space`);
    names = [...names, ' '];
  }
  if (blankAt !== undefined && names.length === outputs) {
    notes.push(`the name of output ${blankAt}, "${names[blankAt]}", is left out: it is the blank`);
    names = names.toSpliced(blankAt, 1);
  }
  if (names.length !== expected) {
    const background =
      names.length === expected - 1 && blankAt === undefined
        ? '; if its first output is a class of no object, "background" is the first name'
        : '';
    const header =
      names.length === expected + 1 && found.isLines
        ? `; if the first line, "${names[0]}", is a header, remove it`
        : '';
    throw new KdSpecError(
      'option-invalid',
      `${model.path}: ${found.source} has ${names.length} class names, the model ${expected} classes` +
        `${blankAt === undefined ? '' : ' and a blank'}: give a file with one name for each (--labels FILE)${background}${header}`,
    );
  }
  return {
    names: unique(visible(withoutSpaces(names, notes), notes), notes),
    blank: blankAt,
    source: found.source,
    notes,
    warnings,
  };
}

/** Why a head is refused that tells fewer than two classes apart, which leaves nothing to confuse. */
function tooFew(outputs: number, classes: number): string {
  if (outputs === 1) {
    return (
      'it has one output, and two classes or more are needed. Where that output tells yes from no, export the model with ' +
      'two outputs, one for each class'
    );
  }
  return `it has ${classes === 1 ? 'one class' : 'no class'}${classes < outputs ? ' and a blank' : ''}, and two classes or more are needed`;
}

/** Names of which each has its own index before it, counted from 0 or 1, as in `0: ash`, without these. */
function withoutNumbers(
  names: ClassNames,
): { readonly names: ClassNames; readonly first: number } | undefined {
  const bare: string[] = [];
  let first = 0;
  for (const [index, name] of names.entries()) {
    const [, number, rest] = /^\s*(\d+)(?:\s*[:;,]\s*|\s+)(\S.*)$/.exec(name) ?? [];
    if (number === undefined) return undefined;
    if (index === 0) first = Number(number);
    if (first > 1 || Number(number) !== index + first) return undefined;
    bare.push(rest);
  }
  // Names such as `1 Euro` and `2 Euro` are told apart by the number alone.
  return bare.length > 1 && new Set(bare).size === bare.length ? { names: bare, first } : undefined;
}

/**
 * Names without the white space around them, which editors and exporters leave and nobody sees. Names that only the space
 * tells apart keep it, and so do those that are not plain text without it.
 */
function withoutSpaces(names: ClassNames, notes: string[]): ClassNames {
  const formsOf = new Map<string, Set<string>>();
  for (const name of names) {
    const forms = formsOf.get(name.trim()) ?? new Set();
    formsOf.set(name.trim(), forms.add(name));
  }
  let changed = 0;
  const short = names.map((name) => {
    const inner = name.trim();
    const isKept = /[\n\r\v\f\x85\u2028\u2029]/.test(name) || (formsOf.get(inner)?.size ?? 0) > 1;
    if (inner === name || isKept || !isVisible(inner)) return name;
    changed++;
    return inner;
  });
  if (changed > 0)
    notes.push(`spaces around ${count(changed)} class name${changed === 1 ? '' : 's'} are left out`);
  return short;
}

/** Names that are nothing but white space, or several lines, are written as their code points. */
function visible(names: ClassNames, notes: string[]): ClassNames {
  const hidden = names.filter((name) => !isVisible(name));
  if (hidden.length > 0)
    notes.push(`${hidden.length} class names that cannot be seen are written as code points`);
  return names.map(visibleName);
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

interface Found extends ReadNames {
  readonly source: string;
}

/** What a model and the file beside it have as class names. */
interface NamesOfModel {
  readonly found: Found | undefined;
  /** The keys of metadata that are called as class names are, and have none. */
  readonly unread: readonly string[];
  readonly warnings: readonly string[];
}

/** @param lengths that a comma list may have */
async function namesOfModel(model: OnnxModel, lengths: readonly number[]): Promise<NamesOfModel> {
  const unread: string[] = [];
  for (const key of metadataKeys) {
    const text = model.metadata.get(key);
    if (text === undefined) continue;
    const read = parseNames(text) ?? commaList(text, lengths);
    if (read && fits(read, lengths))
      return { found: { ...read, source: `the model's metadata ("${key}")` }, unread, warnings: [] };
    unread.push(key);
  }
  return { unread, ...(await namesOfConfig(join(dirname(model.path), 'config.json'), lengths)) };
}

/** Names that count from 1 may leave out a background, the first output: nobody gave them, so they are no reason to refuse. */
const fits = ({ countsFromOne, names }: ReadNames, lengths: readonly number[]): boolean =>
  countsFromOne !== true || lengths.includes(names.length);

async function namesOfConfig(
  path: string,
  lengths: readonly number[],
): Promise<Pick<NamesOfModel, 'found' | 'warnings'>> {
  let config: unknown;
  try {
    config = JSON.parse((await readFile(path, 'utf8')).replace(/^\uFEFF/, ''));
  } catch {
    return { found: undefined, warnings: [] }; // what cannot be read is told where its images are
  }
  const unread: string[] = [];
  for (const key of configKeys) {
    const value = fieldOf(config, key) ?? undefined;
    const read = namesIn(value);
    if (read && fits(read, lengths))
      return { found: { ...read, source: `${path} ("${key}")` }, warnings: [] };
    if (value !== undefined) unread.push(`"${key}"`);
  }
  const expected = `a list of ${lengths[0]} names, or as a mapping from each index to its name`;
  const warning = `${path}: ${unread.join(' and ')} cannot be read as ${expected}, and is not used`;
  return { found: undefined, warnings: unread.length > 0 ? [warning] : [] };
}
