import { KdSpecError } from '../../core/errors.js';
import { percent } from '../../core/percent.js';
import { countFromOne } from '../class-names.js';
import { compareCodePoints } from '../image-files.js';
import type { ImportFindings } from '../import-report.js';
import { classLimit } from '../recorded-names.js';
import { type SplitName, splitNames } from '../source.js';
import { reportGroups } from './group-key.js';
import { type SplitFractions, splitBySeed } from './split-by-seed.js';

/** Numbers texts in the order in which they come first. */
export class Numbering {
  readonly texts: string[] = [];
  private readonly numbers = new Map<string, number>();

  numberOf(text: string): number {
    const known = this.numbers.get(text);
    if (known !== undefined) return known;
    this.numbers.set(text, this.texts.length);
    return this.texts.push(text) - 1;
  }
}

/** (rows) of one part: the numbers of labels, groups and files; no files where rows have none. */
interface PartRows {
  readonly labels: number[];
  readonly groups: number[];
  readonly files: number[];
}

const noLabel = -1;
const ownGroup = -1;
const wholeNumber = /^-?\d{1,18}$/;

/** A word on a column that looks as if it divided the rows. */
export const noPartsInSplit =
  'a column split whose first value is no part (train, validation, test) was passed over';

/**
 * The labels and groups of the rows of a source, part by part, in the order in which the source holds them: what is
 * needed to number the classes and to divide the rows, 12 bytes a row and the names of files.
 */
export class RowLabels {
  private readonly labels = new Numbering();
  private readonly groups = new Numbering();
  private readonly files = new Numbering();
  private readonly parts = new Map<SplitName, PartRows>();
  private filesRepeat = false;
  private readonly areTexts: boolean;

  /**
   * @param options.areTexts whether labels are texts as they stand: spaces around them count, and those that look like
   *   numbers are texts like others, in their order and in that -1 is a label
   */
  constructor({ areTexts = false }: { readonly areTexts?: boolean } = {}) {
    this.areTexts = areTexts;
  }

  /**
   * Adds the next row of a part.
   *
   * @param label as the source has it; undefined, and the empty text, for a row without one
   * @param group what the row belongs to; undefined for a row that belongs to nothing else
   * @param file that holds it, where each row has a file: rows of one file stay together
   */
  add(part: SplitName, label: string | undefined, group?: string, file?: string): void {
    const rows = this.parts.get(part) ?? { labels: [], groups: [], files: [] };
    this.parts.set(part, rows);
    const plain = label?.normalize('NFC');
    const text = this.areTexts ? plain : plain?.trim();
    rows.labels.push(text === undefined || text === '' ? noLabel : this.labels.numberOf(text));
    rows.groups.push(group === undefined || group === '' ? ownGroup : this.groups.numberOf(group));
    if (file !== undefined) {
      const known = this.files.texts.length;
      rows.files.push(this.files.numberOf(file));
      this.filesRepeat ||= this.files.texts.length === known;
    }
    if (this.labels.texts.length > classLimit) {
      throw new KdSpecError(
        'dataset-invalid',
        `expected at most ${classLimit} classes, found more labels, such as "${text}": is it a column of labels? ` +
          'Choose another with --label-column',
      );
    }
  }

  /** The number of rows of a part that were added. */
  count(part: SplitName): number {
    return this.parts.get(part)?.labels.length ?? 0;
  }

  /**
   * Numbers the classes and gives every labelled row its split.
   *
   * The classes are the labels that occur in `train`: by size where all of them are whole numbers, else by code points.
   * Of whole numbers -1 means no label. A part that is missing, or has no labelled row, is set aside from `train`.
   *
   * @param options.place the source, for messages
   * @param options.names of the classes, where they are known: labels are then these names, or, where they are whole
   *   numbers that are no names, or `areNumbered` says so, their places from 0, or from 1 as {@link countFromOne} finds;
   *   `from` says what has them, and what helps where a label is none of them
   * @param options.isId the column of labels, if another value in each row would mean that it holds ids
   * @param options.group the `--group` that was given, if one was: groups then stay on one side
   * @param options.nameOf what a row of a part is called in messages, where its number tells that
   * @throws KdSpecError `dataset-invalid` when there is no label in `train`, or one elsewhere that is not in `train`;
   * `option-invalid` when groups were asked for and no row has one
   */
  divide({
    place,
    names: known,
    isId,
    group,
    nameOf,
    fractions,
    seed,
    findings,
  }: {
    readonly place: string;
    readonly names?: KnownNames | undefined;
    readonly isId?: string | undefined;
    readonly group: string | undefined;
    readonly nameOf?: NameOfRow | undefined;
    readonly fractions: SplitFractions;
    readonly seed: number;
    readonly findings: ImportFindings;
  }): DividedRows {
    const train = this.parts.get('train');
    const occurring = new Set(train?.labels);
    occurring.delete(noLabel);
    const texts = [...occurring].map((label) => this.labels.texts[label]);
    const areIntegers = !this.areTexts && texts.every((text) => wholeNumber.test(text));
    const values = areIntegers ? texts.filter((text) => text !== '-1') : texts;
    if (values.length === 0) throw withoutLabels(place, train?.labels.length ?? 0);
    const labelled = train?.labels.filter((label) => label !== noLabel).length ?? 0;
    if (isId !== undefined && texts.length > 1 && texts.length === labelled) {
      throw new KdSpecError(
        'dataset-invalid',
        `${place}: expected labels in ${isId}, found another value in each of ${labelled} rows: is it an id? If it is the ` +
          `class, say so with --label-column ${isId}`,
      );
    }
    const fractional = texts.find((text) => /^-?\d*\.\d*[1-9]\d*$/.test(text));
    if (fractional !== undefined && texts.every((text) => Number.isFinite(Number(text)))) {
      findings.note(
        'classes whose names are numbers with a fraction: is it the right column?',
        fractional,
        texts.length,
      );
    }
    const named = known?.list;
    if (named === undefined) noteCaseTwins(texts, findings);
    const classes = named ?? values.toSorted(areIntegers ? compareIntegers : compareCodePoints);
    const numbers = new Map(classes.map((name, label) => [name, label]));
    const isNumbered =
      named !== undefined &&
      areIntegers &&
      (known?.areNumbered === true || !values.every((text) => numbers.has(text)));
    const first =
      isNumbered && known?.areNumbered !== true
        ? (known?.numbersFrom ?? (countFromOne(this.labels.texts, classes.length) ? 1 : 0))
        : undefined;
    if (first === 1 && known?.numbersFrom === undefined) {
      findings.warn(
        `labels that count from 1, as ${classes.length} occurs and 0 does not: 1 is the first class of ${place}`,
        values[0],
        values.length,
      );
    }
    const classOf = this.labels.texts.map((text) =>
      areIntegers && text === '-1'
        ? noLabel
        : isNumbered
          ? classAtLine(text, classes.length, first ?? 0)
          : numbers.get(text),
    );

    const assigned = new Map<SplitName, Int8Array>();
    const labels = new Map<SplitName, Int32Array>();
    for (const [part, rows] of this.parts) {
      const ofRows = new Int32Array(rows.labels.length);
      for (const [row, number] of rows.labels.entries()) {
        const label = number === noLabel ? noLabel : classOf[number];
        if (label === undefined)
          throw unknownLabel(nameOf?.(part, row) ?? place, part, this.labels.texts[number], known);
        ofRows[row] = label;
      }
      const without = ofRows.filter((label) => label === noLabel).length;
      if (without > 0) {
        const example = nameOf?.(part, ofRows.indexOf(noLabel)) ?? `${place}, the ${part} part`;
        findings.leaveOut('rows without a label', example, without);
      }
      labels.set(part, ofRows);
      assigned.set(
        part,
        Int8Array.from(ofRows, (label) => (label === noLabel ? -1 : splitNames.indexOf(part))),
      );
    }
    const has = (part: SplitName) => assigned.get(part)?.some((split) => split >= 0) === true;
    for (const part of splitNames) {
      if (assigned.has(part) && !has(part))
        findings.note(`a part without labelled rows: ${part} is set aside from train`, place);
    }
    const ownLabels = labels.get('train') ?? new Int32Array(0);
    if (group !== undefined) {
      const groupsOf = new Map([...this.parts].map(([part, { groups }]) => [part, groups]));
      reportGroups(groupsOf, {
        group,
        names: this.groups.texts,
        unit: 'rows',
        example: this.rowWithoutGroup(nameOf) ?? place,
        findings,
      });
    }
    if (this.filesRepeat) this.warnOfRepeatedFiles(findings);
    const groups = this.groupsOfTrain(group !== undefined);
    const splits = divideTrain(
      ownLabels,
      { validation: has('validation') ? 0 : fractions.validation, test: has('test') ? 0 : fractions.test },
      { seed, groups, findings, place },
    );
    assigned.set('train', splits);
    return { classes, labels, assigned, numbersFrom: first };
  }

  /** A row without a group: its name, or its file, where rows have one. */
  private rowWithoutGroup(nameOf: NameOfRow | undefined): string | undefined {
    for (const [part, { groups, files }] of this.parts) {
      const row = groups.indexOf(ownGroup);
      if (row >= 0 && nameOf) return nameOf(part, row);
      if (row >= 0 && files.length > 0) return this.files.texts[files[row]];
    }
    return undefined;
  }

  /** (rows) of `train`, the rows that stay together: those of a group, and those of a file that is listed again. */
  private groupsOfTrain(hasGroups: boolean): Int32Array | undefined {
    const { groups = [], files = [] } = this.parts.get('train') ?? {};
    if (!this.filesRepeat) return hasGroups ? Int32Array.from(groups) : undefined;
    const ofGroups = this.groups.texts.length;
    const parents = Int32Array.from({ length: ofGroups + this.files.texts.length }, (_, node) => node);
    const rootOf = (node: number) => {
      let at = node;
      while (parents[at] !== at) {
        parents[at] = parents[parents[at]];
        at = parents[at];
      }
      return at;
    };
    for (const [row, file] of files.entries()) {
      if (groups[row] !== ownGroup) parents[rootOf(ofGroups + file)] = rootOf(groups[row]);
    }
    return Int32Array.from(files, (file) => rootOf(ofGroups + file));
  }

  /** Tells of files that count on both sides of a split, and of those with two labels. */
  private warnOfRepeatedFiles(findings: ImportFindings): void {
    const labelOf = new Int32Array(this.files.texts.length).fill(noLabel);
    const partOf = new Array<SplitName | undefined>(this.files.texts.length);
    const torn = new Set<number>();
    const doubtful = new Set<number>();
    for (const [part, { labels, files }] of this.parts) {
      for (const [row, file] of files.entries()) {
        if (labels[row] === noLabel) continue;
        if (partOf[file] !== undefined && partOf[file] !== part) torn.add(file);
        if (labelOf[file] !== noLabel && labelOf[file] !== labels[row]) doubtful.add(file);
        partOf[file] = part;
        labelOf[file] = labels[row];
      }
    }
    for (const [what, found] of [
      ['images that are listed in more than one part, so that accuracy looks better than it is', torn],
      ['images that are listed with different labels', doubtful],
    ] as const) {
      const [first] = found;
      if (first !== undefined) findings.warn(what, this.files.texts[first], found.size);
    }
  }
}

/** The names of classes that are known before any label is read; see {@link RowLabels.divide}. */
export interface KnownNames {
  readonly list: readonly string[];
  readonly areNumbered?: boolean;
  /** What numbers call the first one, where that is decided; else the labels tell, as {@link countFromOne} has it. */
  readonly numbersFrom?: 0 | 1 | undefined;
  /** For a person: `the 5 classes of --class-names`; and what helps where a label is none of them. */
  readonly from?: { readonly what: string; readonly advice: string } | undefined;
}

/** What a row is called in messages, by its number in its part. */
type NameOfRow = (part: SplitName, row: number) => string;

/** See {@link RowLabels.divide}. */
export interface DividedRows {
  readonly classes: readonly string[];
  /** By part of the source: (rows), the class of each row, -1 for a row without a label. */
  readonly labels: ReadonlyMap<SplitName, Int32Array>;
  /** By part of the source: (rows), the index in `splitNames` of the split that each row goes to, -1 for none. */
  readonly assigned: ReadonlyMap<SplitName, Int8Array>;
  /** What numbers call the first class, where labels were numbers of known names that number nothing themselves. */
  readonly numbersFrom: 0 | 1 | undefined;
}

/** The part of the source that holds a split, and the rows of it that belong to the split, in the order of the source. */
export function rowsOfSplit(
  { assigned }: DividedRows,
  split: SplitName,
): { readonly part: SplitName; readonly rows: Int32Array } {
  const wanted = splitNames.indexOf(split);
  const own = assigned.get(split);
  const part = own?.includes(wanted) === true ? split : 'train';
  const splits = assigned.get(part) ?? new Int8Array(0);
  return { part, rows: Int32Array.from(splits.keys()).filter((row) => splits[row] === wanted) };
}

/** The split of every training row that has a label. */
export function divideTrain(
  labels: Int32Array,
  fractions: SplitFractions,
  {
    seed,
    groups,
    findings,
    place,
  }: {
    readonly seed: number;
    readonly groups: Int32Array | undefined;
    readonly findings: ImportFindings;
    readonly place: string;
  },
): Int8Array {
  const labelled = Int32Array.from(labels.keys()).filter((row) => labels[row] >= 0);
  const splits = splitBySeed(
    labelled.map((row) => labels[row]),
    fractions,
    seed,
    groups && labelled.map((row) => groups[row]),
  );
  const assigned = new Int8Array(labels.length).fill(-1);
  for (const [position, row] of labelled.entries()) assigned[row] = splitNames.indexOf(splits[position]);
  for (const split of groups ? (['validation', 'test'] as const) : []) {
    const share = splits.filter((name) => name === split).length / Math.max(1, splits.length);
    if (Math.abs(share - fractions[split]) <= fractions[split] / 2) continue;
    const what =
      `${percent(share)} of the rows set aside for ${split} instead of ${percent(fractions[split])}, ` +
      'since groups stay whole';
    if (share === 0) findings.warn(what, place);
    else findings.note(what, place);
  }
  return assigned;
}

/** Tells of names of classes that differ only in the case of letters. */
export function noteCaseTwins(names: readonly string[], findings: ImportFindings): void {
  const byFoldedName = new Map<string, string>();
  for (const name of names) {
    const folded = name.toLowerCase();
    const twin = byFoldedName.get(folded);
    if (twin !== undefined)
      findings.note('classes whose names differ only in the case of letters', `${twin}, ${name}`);
    byFoldedName.set(folded, name);
  }
}

function compareIntegers(a: string, b: string): number {
  const difference = BigInt(a) - BigInt(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

function classAtLine(text: string, classes: number, first: number): number | undefined {
  // Number takes more for numbers than labels are: 1.5, 0x1, 1e0.
  const line = wholeNumber.test(text) ? Number(text) - first : -1;
  return line >= 0 && line < classes ? line : undefined;
}

/** Nothing can be learned from a training part of which no row has a label. */
function withoutLabels(place: string, rows: number): KdSpecError {
  const found =
    rows === 0
      ? 'no rows at all: add some'
      : `none among ${rows} (empty, null, and -1 among integers mean that there is no label): name the column that has ` +
        'the labels with --label-column, or give rows whose labels are not hidden';
  return new KdSpecError(
    'dataset-invalid',
    `${place}: expected labelled rows in the training part, found ${found}`,
  );
}

function unknownLabel(
  place: string,
  part: SplitName,
  text: string,
  known: KnownNames | undefined,
): KdSpecError {
  const { what, advice } = known?.from ?? {
    what: `${known?.list.length} classes of --class-names`,
    advice: 'add it there, or remove the rows',
  };
  return new KdSpecError(
    'dataset-invalid',
    `${place}: found the label "${text}" in the ${part} part, ` +
      (known
        ? `which is none of the ${what}: ${advice}`
        : 'expected only labels that occur in the training part: add training images of it, or remove the rows'),
  );
}
