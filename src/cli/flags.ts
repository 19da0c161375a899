import type { Argv, Options } from 'yargs';
import { KdSpecError } from '../core/errors.js';
import { type ListedOption, optionsOf } from '../pipeline/option-list.js';
import { describeValues } from '../pipeline/option-values.js';
import type { StageName } from '../pipeline/stage-names.js';

/** Flags as typed: text, or a boolean; undefined when absent. */
export type Flags = Readonly<Record<string, string | boolean | undefined>>;

/** Adds the flags of the general options and of some stages to a command, a group for each stage. */
export function addFlags(yargs: Argv, stages: readonly StageName[]): Argv {
  for (const listed of optionsOf(stages)) yargs.option(listed.flag, yargsOption(listed));
  return yargs;
}

/**
 * The flags of some stages among what yargs parsed.
 *
 * @throws KdSpecError `usage` when one stands twice that takes one value
 */
export function flagsOf(argv: Readonly<Record<string, unknown>>, stages: readonly StageName[]): Flags {
  const flags: Record<string, string | boolean> = {};
  for (const { flag, option } of optionsOf(stages)) {
    const value = argv[flag];
    if (Array.isArray(value) && option.type === 'texts') {
      flags[flag] = value.join(',');
      continue;
    }
    if (Array.isArray(value)) {
      throw new KdSpecError('usage', `--${flag} was given ${value.length} times: give it once`);
    }
    if (typeof value === 'string' || typeof value === 'boolean') flags[flag] = value;
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
  };
}

function describeDefault(value: unknown): string {
  if (value === null) return 'none';
  return Array.isArray(value) ? value.join(',') : String(value);
}
