import { createReadStream } from 'node:fs';
import { extname } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { asFileError } from '../../core/file-error.js';
import { foreignKind } from '../../core/file-kind.js';

/** A row of a table of texts. */
export interface TextRow {
  /** In the file, from 1, for messages. */
  readonly line: number;
  /** The columns of the table; of JSON lines those of this row. */
  readonly columns: readonly string[];
  /** By column; a cell that is missing or empty is not there. */
  readonly cells: ReadonlyMap<string, string>;
}

/** A record of a file as it stands there. */
interface TextRecord {
  readonly line: number;
  readonly cells: readonly string[];
}

const tableNames = /\.(csv|tsv|jsonl|ndjson)$/i;
const recordLimit = 2 ** 24; // characters of a record; what is longer is no table of paths and labels
const columnLimit = 10_000;

/** Whether a file is taken for a table of texts, by the ending of its name. */
export function isTextTable(path: string): boolean {
  return tableNames.test(path);
}

/**
 * Streams the rows of a table in CSV, TSV or JSON lines, by the ending of its name.
 *
 * CSV is that of RFC 4180: quotes, doubled quotes and line ends within them. The first record names the columns; where
 * it has no comma but a semicolon or a tab, that separates. Of JSON lines the texts, numbers and booleans of each
 * object are taken.
 *
 * @param options.headerOf decides about the first record of CSV and TSV: undefined when it names the columns, else the
 *   names of the columns of a table without a header
 * @throws KdSpecError `not-found`, `not-readable`, `dataset-invalid` with the line
 * Cost: one record in memory.
 */
export async function* textRows(
  path: string,
  { headerOf }: { readonly headerOf?: (first: readonly string[]) => readonly string[] | undefined } = {},
): AsyncGenerator<TextRow> {
  if (/^\.(jsonl|ndjson)$/i.test(extname(path))) {
    yield* jsonRows(path);
    return;
  }
  let columns: readonly string[] | undefined;
  for await (const { line, cells } of records(path)) {
    if (columns === undefined) {
      const names = headerOf?.(cells);
      columns = names ?? cells.map((name) => name.trim());
      checkColumns(columns, path);
      if (names === undefined) continue;
    }
    if (cells.length > columns.length) {
      throw invalid(
        path,
        line,
        `expected ${columns.length} cells, as the columns, found ${cells.length}: quote commas`,
      );
    }
    const names = columns;
    yield {
      line,
      columns,
      cells: new Map(cells.flatMap((cell, at) => (cell === '' ? [] : [[names[at], cell] as const]))),
    };
  }
}

function checkColumns(columns: readonly string[], path: string): void {
  const twin = columns.find((name, at) => columns.indexOf(name) !== at);
  if (twin === undefined && columns.length <= columnLimit) return;
  throw invalid(
    path,
    1,
    `expected the names of at most ${columnLimit} columns, each of its own, found ` +
      (twin === undefined ? columns.length : `"${twin}" twice`),
  );
}

/** The records of a CSV or TSV file; lines without anything are passed over. */
async function* records(path: string): AsyncGenerator<TextRecord> {
  const tab = /\.tsv$/i.test(path);
  let separator = tab ? '\t' : undefined; // of CSV, known after the first line
  let cells: string[] = [];
  let cell = '';
  let length = 0;
  let isQuoted = false;
  let wasQuote = false; // the last character was a quote within quotes: its end, or the first half of a quote
  let line = 1;
  let start = 1;
  const finish = (): TextRecord | undefined => {
    cells.push(cell.endsWith('\r') ? cell.slice(0, -1) : cell);
    const record = { line: start, cells };
    cells = [];
    cell = '';
    length = 0;
    start = line;
    return record.cells.length > 1 || record.cells[0] !== '' ? record : undefined;
  };
  for await (const text of texts(path)) {
    separator ??= separatorOf(text);
    for (const character of text) {
      if (++length > recordLimit)
        throw invalid(path, start, `a record of over ${recordLimit} characters: check quotes`);
      if (character === '\n') line++;
      if (isQuoted && !wasQuote) {
        if (character === '"') wasQuote = true;
        else cell += character;
        continue;
      }
      if (wasQuote && character === '"') {
        cell += '"';
        wasQuote = false;
        continue;
      }
      if (wasQuote) {
        isQuoted = false;
        wasQuote = false;
      }
      if (character === '"' && cell === '') isQuoted = true;
      else if (character === separator) {
        cells.push(cell);
        cell = '';
      } else if (character === '\n') {
        const record = finish();
        if (record) yield record;
      } else cell += character;
    }
  }
  if (isQuoted && !wasQuote) throw invalid(path, start, 'a quote opens here and is not closed');
  if (cell === '' && cells.length === 0) return;
  const record = finish();
  if (record) yield record;
}

/** What separates the cells of a CSV file, by its first line. */
function separatorOf(text: string): string {
  const [first] = text.split('\n', 1);
  return [',', ';', '\t'].find((separator) => first.includes(separator)) ?? ',';
}

async function* jsonRows(path: string): AsyncGenerator<TextRow> {
  let rest = '';
  let line = 0;
  for await (const text of texts(path)) {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > recordLimit) throw invalid(path, line + 1, `a line of over ${recordLimit} characters`);
    for (const one of lines) {
      line++;
      if (one.trim() !== '') yield jsonRow(one, path, line);
    }
  }
  if (rest.trim() !== '') yield jsonRow(rest, path, line + 1);
}

function jsonRow(text: string, path: string, line: number): TextRow {
  try {
    const value: unknown = JSON.parse(text);
    const cells = cellsOfJson(value);
    return { line, columns: Object.keys(Object(value)), cells };
  } catch (cause) {
    throw invalid(path, line, `expected a JSON object, found ${JSON.stringify(text.slice(0, 80))}`, cause);
  }
}

/**
 * The texts, numbers and booleans of a JSON object, as texts; integers beyond 2^53 lose digits in JSON.
 *
 * @throws Error when it is no object
 */
export function cellsOfJson(value: unknown): ReadonlyMap<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('not an object');
  const cells = new Map<string, string>();
  for (const [name, cell] of Object.entries(value)) {
    if (['string', 'number', 'boolean'].includes(typeof cell) && cell !== '') cells.set(name, String(cell));
  }
  return cells;
}

/** The text of a file in pieces, without a byte order mark. */
async function* texts(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let isFirst = true;
  try {
    for await (const bytes of createReadStream(path)) {
      if (isFirst) {
        const kind = foreignKind(bytes);
        if (kind !== undefined)
          throw new KdSpecError('dataset-invalid', `expected a table of texts at ${path}, but ${kind}`);
        isFirst = false;
      }
      yield decode(decoder, bytes, path);
    }
    if (isFirst)
      throw new KdSpecError('dataset-invalid', `expected a table of texts at ${path}, but it is empty`);
    yield decode(decoder, undefined, path);
  } catch (error) {
    throw asFileError(error, path, 'a table of paths and labels');
  }
}

function decode(
  decoder: InstanceType<typeof TextDecoder>,
  bytes: Uint8Array | undefined,
  path: string,
): string {
  try {
    return bytes ? decoder.decode(bytes, { stream: true }) : decoder.decode();
  } catch (cause) {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected text in UTF-8, found other bytes: save it as UTF-8`,
      {
        cause,
      },
    );
  }
}

function invalid(path: string, line: number, what: string, cause?: unknown): KdSpecError {
  return new KdSpecError('dataset-invalid', `${path}:${line}: ${what}`, { cause });
}
