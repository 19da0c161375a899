import type { Argv, Options } from 'yargs';
import { KdSpecError } from '../core/errors.js';
import { type ListedOption, listedOptions, optionsOf, type Section } from '../pipeline/option-list.js';
import { describeValues, parseText } from '../pipeline/option-values.js';
import { stageCommands } from '../pipeline/stage-names.js';

/** Flags as typed: text, or a boolean; undefined when absent. */
export type Flags = Readonly<Record<string, string | boolean | undefined>>;

/**
 * Stands for a lone `-`, which means standard input: yargs 18 drops it among positionals and refuses it after a flag,
 * so it goes through the parser as a word that no command line can hold, since arguments have no NUL.
 */
const loneDash = '\0-';

/**
 * The words of a command line, as yargs is to parse them. What yargs would guess at is settled here by the table of
 * options: `--dry-run=1` means what `KD_SPEC_DRY_RUN=1` means, and `--no-` stands before flags that take no value alone.
 *
 * @throws KdSpecError `usage`, `option-invalid`
 */
export function readableWords(words: readonly string[]): string[] {
  const end = words.indexOf('--');
  const given = new Map<string, string>();
  return words.map((word, position) => {
    if (word === '-') return loneDash;
    if (!word.startsWith('--') || (end !== -1 && position >= end)) return word;
    const flag = readableFlag(word);
    const [name = flag] = flag.split('=');
    const earlier = given.get(name);
    if (earlier !== undefined && isBoolean(name)) {
      throw new KdSpecError('usage', `${name} was given twice, as ${earlier} and as ${word}: give it once`);
    }
    given.set(name, word);
    return flag;
  });
}

function isBoolean(name: string): boolean {
  return listedOptions.some(({ flag, option }) => `--${flag}` === name && option.type === 'boolean');
}

/** A parsed word, as it was typed. */
export function restoreLoneDash(word: string): string {
  return word === loneDash ? '-' : word;
}

function readableFlag(word: string): string {
  const [, name = '', text] = /^--([^=]*)(?:=(.*))?$/s.exec(word) ?? [];
  const named = (flag: string) => listedOptions.find((listed) => listed.flag === flag);
  const positive = named(name);
  if (positive?.option.type === 'boolean' && text !== undefined) {
    const checked = parseText(positive.option, text);
    if ('value' in checked) return `--${name}=${checked.value}`;
    throw new KdSpecError('option-invalid', `--${name}: expected ${checked.expected}, got "${text}"`);
  }
  const negative = name.startsWith('no-') ? named(name.slice(3)) : undefined;
  if (negative === undefined) return word;
  const { flag, option } = negative;
  if (option.type !== 'boolean') {
    const advice = option.nullable ? `--${flag} none leaves the choice open` : 'leave it out for its default';
    throw new KdSpecError(
      'usage',
      `--${name}: expected --${flag} with a value (${describeValues(option)}): ${advice}`,
    );
  }
  if (text !== undefined) {
    throw new KdSpecError(
      'usage',
      `--${name} takes no value, got "${text}": give --${flag}=${text} or --${name}`,
    );
  }
  return `--${flag}=false`;
}

/** The flag that prints a plan of stages: a command that runs no stage has none to print, and refuses it. */
export const planFlag = 'dry-run';

/** Adds the flags of the general options and of some stages or commands to a command, a group for each. */
export function addFlags(yargs: Argv, sections: readonly Section[]): Argv {
  const hasPlan = sections.some((section) => section in stageCommands);
  for (const listed of optionsOf(sections))
    if (listed.flag !== planFlag || hasPlan) yargs.option(listed.flag, yargsOption(listed));
  return yargs;
}

/** Adds the general flags of a command that runs no stage, and some others by name. */
export function addOptions(yargs: Argv, flags: readonly string[]): Argv {
  for (const listed of listedOptions)
    if ((listed.section === undefined && listed.flag !== planFlag) || flags.includes(listed.flag))
      yargs.option(listed.flag, yargsOption(listed));
  return yargs;
}

/**
 * The flags of some stages or commands among what yargs parsed.
 *
 * @throws KdSpecError `usage` when one stands twice that takes one value
 */
export function flagsOf(argv: Readonly<Record<string, unknown>>, sections: readonly Section[]): Flags {
  const flags: Record<string, string | boolean> = {};
  for (const { flag, option } of optionsOf(sections)) {
    const value = argv[flag];
    if (Array.isArray(value) && option.type === 'texts') {
      flags[flag] = value.join(',');
      continue;
    }
    if (Array.isArray(value)) {
      throw new KdSpecError('usage', `--${flag} was given ${value.length} times: give it once`);
    }
    if (typeof value === 'string') flags[flag] = restoreLoneDash(value);
    else if (typeof value === 'boolean') flags[flag] = value;
  }
  return flags;
}

function yargsOption({ option, section }: ListedOption): Options {
  const isBoolean = option.type === 'boolean';
  const values = option.type === 'choice' || option.type === 'workers' ? ` (${describeValues(option)})` : '';
  return {
    // Text is parsed by the table, which knows ranges and also reads the environment; yargs would guess at types.
    type: isBoolean ? 'boolean' : 'string',
    ...(isBoolean || option.type === 'workers' ? {} : { requiresArg: true }),
    description: option.description + values,
    defaultDescription: describeDefault(option.default),
    group: section === undefined ? 'General:' : `${section}:`,
    // The program prints its own help (`help.ts`). Of what is not hidden yargs lays out a help text behind each command,
    // which takes longer than everything else that a short command does.
    hidden: true,
  };
}

function describeDefault(value: unknown): string {
  if (value === null) return 'none';
  return Array.isArray(value) ? value.join(',') : String(value);
}
