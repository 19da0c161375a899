import { isOption, type Option, type OptionTable } from './option-types.js';
import { generalOptions } from './options/general-options.js';
import { type CommandSection, commandOptions, stageOptions } from './options.js';
import { type StageName, stageNames } from './stage-names.js';

/** A stage, or a command that has options of its own. */
export type Section = StageName | CommandSection;

/** One option with all its names. */
export interface ListedOption {
  /** The stage or command it belongs to; undefined for the general options. */
  readonly section: Section | undefined;
  /** Keys from the top of a pipeline file, e.g. `['generalist', 'network', 'dense']`. */
  readonly path: readonly string[];
  /** Without dashes. */
  readonly flag: string;
  readonly environment: string;
  readonly option: Option;
}

/** Options that say how one command runs; the workspace does not remember them. */
const perCommand: ReadonlySet<string> = new Set([
  'pipeline',
  'resume',
  'dryRun',
  'quiet',
  'json',
  'specialists.wait',
]);

/** All options, the general ones first, then by stage, then by command. */
export const listedOptions: readonly ListedOption[] = [
  ...list(generalOptions, undefined, []),
  ...stageNames.flatMap((stage) => list(stageOptions[stage], stage, [stage])),
  ...list(commandOptions.serve, 'serve', ['serve']),
];

/** The options that a pipeline file may hold. */
export const pipelineOptions = listedOptions.filter(({ path }) => !perCommand.has(path.join('.')));

/** The general options, and those of the given stages and commands. */
export function optionsOf(sections: readonly Section[]): readonly ListedOption[] {
  return listedOptions.filter(({ section }) => section === undefined || sections.includes(section));
}

/** The pipeline key of an option, e.g. `generalist.network.dense`. */
export function keyOf({ path }: ListedOption): string {
  return path.join('.');
}

function list(
  table: OptionTable,
  section: Section | undefined,
  prefix: readonly string[],
): readonly ListedOption[] {
  return Object.entries(table).flatMap(([key, entry]) => {
    const path = [...prefix, key];
    if (!isOption(entry)) return list(entry, section, path);
    const flag = entry.flag ?? kebabCase(key);
    const environment = `KD_SPEC_${flag.toUpperCase().replaceAll('-', '_')}`;
    return [{ section, path, flag, environment, option: entry }];
  });
}

function kebabCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
