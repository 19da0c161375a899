import stringWidth from 'string-width';
import type { JsonObject, JsonValue } from '../core/json.js';
import { terminalText } from '../core/terminal-text.js';

const longestList = 8;

/**
 * Metrics for a person: a line each with names and numbers aligned, a table for a list of records.
 *
 * @param metrics nested objects become names with a dot for each level
 */
export function describeMetrics(metrics: JsonObject): string {
  const rows: (readonly [name: string, value: string])[] = [];
  const tables: string[] = [];
  const visit = (prefix: string, value: JsonValue) => {
    if (isRecords(value)) {
      tables.push(`${prefix}\n${indent(describeRecords(value))}`);
    } else if (isObject(value)) {
      for (const [key, member] of Object.entries(value))
        visit(prefix === '' ? key : `${prefix}.${key}`, member);
    } else {
      rows.push([prefix, describeValue(value)]);
    }
  };
  visit('', metrics);
  return [alignColumns(rows), ...tables].filter((part) => part !== '').join('\n');
}

/**
 * Lines with the cells of each column padded to one width.
 *
 * @param cells of each row; the first row is the heading
 * @param alignment `l` or `r` for each column; without it, columns that hold only numbers are set right
 */
export function alignColumns(cells: readonly (readonly string[])[], alignment?: string): string {
  const rows = cells.map((row) => row.map((cell) => terminalText(cell)));
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const indices = Array.from({ length: columns }, (_, column) => column);
  const widths = indices.map((column) => Math.max(...rows.map((row) => stringWidth(row[column] ?? ''))));
  const isRight = indices.map((column) =>
    alignment === undefined
      ? columns > 2 && rows.slice(1).every((row) => /^[-+]?[\d.,]+(e[-+]\d+)?$|^$/.test(row[column] ?? ''))
      : alignment[column] === 'r',
  );
  return rows
    .map((row) =>
      indices
        .map((column) => {
          const cell = row[column] ?? '';
          const padding = ' '.repeat(widths[column] - stringWidth(cell));
          return isRight[column] ? padding + cell : cell + padding;
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function describeRecords(records: readonly JsonObject[]): string {
  const columns = [...new Set(records.flatMap((record) => Object.keys(flatten(record))))];
  const shown = records.map((record) => {
    const flat = flatten(record);
    return columns.map((column) => describeValue(flat[column] ?? null));
  });
  return alignColumns([columns, ...shown]);
}

function flatten(record: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(record).flatMap(([key, value]): [string, JsonValue][] =>
      isObject(value)
        ? Object.entries(flatten(value)).map(([inner, leaf]) => [`${key}.${inner}`, leaf])
        : [[key, value]],
    ),
  );
}

function describeValue(value: JsonValue): string {
  if (value === null) return '';
  if (typeof value === 'number') return describeNumber(value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'string') return value;
  if (isList(value)) {
    const shown = value.slice(0, longestList).map(describeValue).join(', ');
    return value.length > longestList ? `${shown}, … (${value.length} in all)` : shown;
  }
  return JSON.stringify(value);
}

function describeNumber(value: number): string {
  if (Number.isInteger(value)) return value.toLocaleString('en');
  const magnitude = Math.abs(value);
  if (magnitude < 1e-3 || magnitude >= 1e6) return value.toExponential(2);
  return magnitude >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(4)));
}

function isRecords(value: JsonValue): value is readonly JsonObject[] {
  return isList(value) && value.length > 0 && value.every(isObject);
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isList(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}

/** Text with two spaces before every line that is not empty. */
export function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}

/** A text cut to so many columns of a terminal; an ellipsis stands for what is left out. */
export function fitWidth(text: string, columns: number): string {
  if (stringWidth(text) <= columns) return text;
  let kept = '';
  for (const character of text) {
    if (stringWidth(kept + character) > columns - 1) break;
    kept += character;
  }
  return `${kept.trimEnd()}…`;
}
