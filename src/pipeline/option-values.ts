import type { JsonValue } from '../core/json.js';
import { imageSizeOf } from '../data/source.js';
import type { Option } from './option-types.js';

/** A value that fits its option, or what was expected instead. */
export type Checked = { readonly value: JsonValue } | { readonly expected: string };

/** What values an option takes, for error messages and the reference. */
export function describeValues(option: Option): string {
  const plain = describePlainValues(option);
  return option.nullable ? `${plain}, or none` : plain;
}

function describePlainValues(option: Option): string {
  switch (option.type) {
    case 'integer':
      return `an integer from ${option.min} to ${option.max}`;
    case 'number':
      return `a number from ${option.min} to ${option.max}`;
    case 'share':
      return `a share from ${option.min} to ${option.max}, or in per cent, as in 0.5%`;
    case 'integers':
      return `integers from ${option.min} to ${option.max}, as in 32,64, or ${emptyList(option)} for an empty list`;
    case 'numbers':
      return `numbers from ${option.min} to ${option.max}, as in 1,2.5`;
    case 'texts':
      return 'texts separated by commas; \\, is a comma inside of one';
    case 'string':
      return 'a text';
    case 'path':
      return 'a path';
    case 'boolean':
      return 'true or false';
    case 'choice':
      return `one of ${option.choices.join(', ')}`;
    case 'grouped-list':
      return 'names separated by commas, those of one group joined by +';
    case 'code-points':
      return 'two code points in order, as in 0x4E00-0x9FFF';
    case 'image-size':
      return `an integer from ${option.min} to ${option.max}, or height and width, as in 48x320`;
    case 'workers':
      return 'an integer from 1 to 1024, or auto';
  }
}

/**
 * The value that a flag or an environment variable means.
 *
 * @param text as typed; empty only for a flag that stands without a value
 */
export function parseText(option: Option, text: string): Checked {
  const trimmed = text.trim();
  const isChoice = option.type === 'choice' && option.choices.includes('none');
  if (option.nullable && trimmed === 'none' && !isChoice) return { value: null };
  return checkValue(option, readText(option, trimmed));
}

const booleans: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['1', true],
  ['yes', true],
  ['false', false],
  ['0', false],
  ['no', false],
]);

function readText(option: Option, text: string): JsonValue {
  switch (option.type) {
    case 'integer':
    case 'number':
      return readNumber(text);
    case 'share':
      return readShare(text);
    case 'integers':
      return text === emptyList(option) ? [] : text.split(',').map(readNumber);
    case 'numbers':
      return text.split(',').map(readNumber);
    case 'texts':
      return text.split(/(?<!\\),/).map((entry) => entry.replaceAll('\\,', ',').trim());
    case 'string':
    case 'path':
      return text;
    case 'boolean':
      return booleans.get(text.toLowerCase()) ?? text;
    case 'choice':
      return option.choices.find((choice) => String(choice) === text) ?? text;
    case 'grouped-list':
      return text.split(',').map((entry) => (entry.includes('+') ? entry.split('+') : entry));
    case 'code-points':
      return text.split('-').map((point) => readNumber(point.replace(/^(U\+|u\+)/, '0x')));
    case 'image-size':
      return readImageSize(text);
    case 'workers':
      return text === '' || text === 'auto' ? 'auto' : readNumber(text);
  }
}

/** How an empty list is typed: where none means that nothing was chosen, there is another word. */
function emptyList(option: Option): string {
  return option.nullable ? 'empty' : 'none';
}

function readNumber(text: string): JsonValue {
  return text === '' || Number.isNaN(Number(text)) ? text : Number(text);
}

/** `48x320`, also with the sign of multiplication; a square is one number. */
function readImageSize(text: string): JsonValue {
  const sides = /^(\d+)\s*[x×]\s*(\d+)$/i.exec(text)?.slice(1).map(Number);
  return sides === undefined ? readNumber(text) : imageSizeOf({ height: sides[0], width: sides[1] });
}

/** 0.5% is 0.005: exactly what the decimal number would be. */
function readShare(text: string): JsonValue {
  const percent = /^(.*\S)\s*%$/.exec(text)?.[1];
  if (percent === undefined) return readNumber(text);
  const value = readNumber(percent);
  return typeof value === 'number' ? Number((value / 100).toPrecision(15)) : text;
}

/** The value of an option as it stands in a pipeline file, or what was expected there. */
export function checkValue(option: Option, value: unknown): Checked {
  const read = typeof value === 'string' ? fromFile(option, value) : value;
  if (fits(option, read)) return { value: read };
  const hasNul = typeof read === 'string' && read.includes('\0');
  return { expected: describeValues(option) + (hasNul ? ' without a NUL character' : '') };
}

/** What a text in a pipeline file means where it stands for numbers. */
function fromFile({ type }: Option, text: string): JsonValue {
  if (type === 'share') return readShare(text);
  return type === 'image-size' ? readImageSize(text) : text;
}

function fits(option: Option, value: unknown): value is JsonValue {
  return (option.nullable === true && value === null) || fitsPlain(option, value);
}

function fitsPlain(option: Option, value: unknown): boolean {
  switch (option.type) {
    case 'integer':
      return Number.isSafeInteger(value) && isBetween(value, option.min, option.max);
    case 'number':
    case 'share':
      return isBetween(value, option.min, option.max);
    case 'integers':
      return (
        isList(value) &&
        value.every((item) => Number.isSafeInteger(item) && isBetween(item, option.min, option.max))
      );
    case 'numbers':
      return (
        isList(value) && value.length > 0 && value.every((item) => isBetween(item, option.min, option.max))
      );
    case 'texts':
      return isList(value) && value.length > 0 && value.every(isName);
    case 'string':
    case 'path':
      return isName(value);
    case 'boolean':
      return typeof value === 'boolean';
    case 'choice':
      return option.choices.some((choice) => choice === value);
    case 'grouped-list':
      return (
        isList(value) &&
        value.length > 0 &&
        value.every((item) => isName(item) || (isList(item) && item.length > 0 && item.every(isName)))
      );
    case 'code-points':
      return (
        isList(value) &&
        value.length === 2 &&
        value.every(isCodePoint) &&
        Number(value[0]) <= Number(value[1])
      );
    case 'image-size': {
      const isText = typeof value === 'string';
      const sides = isText ? value.split('x').map(Number) : [value];
      return (
        (!isText || /^[1-9]\d*x[1-9]\d*$/.test(value)) &&
        sides.every((side) => Number.isSafeInteger(side) && isBetween(side, option.min, option.max))
      );
    }
    case 'workers':
      return value === 'auto' || (Number.isSafeInteger(value) && isBetween(value, 1, 1024));
  }
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** No path and no name has a NUL: the operating system would end it there. */
function isName(value: unknown): boolean {
  return typeof value === 'string' && value.trim() !== '' && !value.includes('\0');
}

function isBetween(value: unknown, min: number, max: number): boolean {
  return typeof value === 'number' && value >= min && value <= max;
}

function isCodePoint(value: unknown): boolean {
  return Number.isSafeInteger(value) && isBetween(value, 0, 0x10ffff);
}
