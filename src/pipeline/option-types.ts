import type { ImageSize } from '../data/source.js';

/**
 * The kinds of option there are, as plain data: flags, environment names, pipeline keys, validation, types and the
 * reference page all derive from one such description. Nothing here loads a library, so that help stays quick.
 */
interface OptionBase {
  /** One line for a person. */
  readonly description: string;
  /** Whether another value can change what a stage writes, or only how fast and where it is written. */
  readonly affects: 'result' | 'execution';
  /** The flag without dashes, if it is not the key in kebab case. Flags are unique over all sections. */
  readonly flag?: string;
  /** Whether `none` (in YAML `null`) is a value: the choice is then left to the data set or the stage. */
  readonly nullable?: true;
}

/** A `share` may also be given in per cent, as in 0.5%. */
interface NumberOption extends OptionBase {
  readonly type: 'integer' | 'number' | 'share';
  readonly default: number | null;
  readonly min: number;
  readonly max: number;
}

/** One or more integers, or numbers. */
interface IntegersOption extends OptionBase {
  readonly type: 'integers' | 'numbers';
  readonly default: readonly number[] | null;
  readonly min: number;
  readonly max: number;
}

/** A text; a `path` is made absolute: relative ones start at the file they stand in, or the current folder. */
interface TextOption extends OptionBase {
  readonly type: 'string' | 'path';
  readonly default: string | null;
}

interface BooleanOption extends OptionBase {
  readonly type: 'boolean';
  readonly default: boolean;
}

interface ChoiceOption extends OptionBase {
  readonly type: 'choice';
  readonly default: string | number | null;
  readonly choices: readonly (string | number)[];
}

/** A list of texts; on the command line the flag may stand several times. */
interface TextsOption extends OptionBase {
  readonly type: 'texts';
  readonly default: readonly string[];
}

/** A list of names; names that stand in an inner list (on the command line: joined by +) belong together. */
interface GroupedListOption extends OptionBase {
  readonly type: 'grouped-list';
  readonly default: readonly (string | readonly string[])[] | null;
}

/** The size of images in pixels: one number for a square, or height and width, as in `48x320`. */
interface ImageSizeOption extends OptionBase {
  readonly type: 'image-size';
  readonly default: ImageSize | null;
  /** Of either side. */
  readonly min: number;
  readonly max: number;
}

/** The first and the last code point of a range of Unicode. */
interface CodePointsOption extends OptionBase {
  readonly type: 'code-points';
  readonly default: readonly [number, number] | null;
}

/** A number of processes, or `auto` for as many as the machine has cores to spare. */
interface WorkersOption extends OptionBase {
  readonly type: 'workers';
  readonly default: number | 'auto' | null;
}

export type Option =
  | NumberOption
  | IntegersOption
  | TextOption
  | BooleanOption
  | ChoiceOption
  | TextsOption
  | GroupedListOption
  | ImageSizeOption
  | CodePointsOption
  | WorkersOption;

/** Options by key; a group of options is one nested mapping in a pipeline file. */
export type OptionTable = { readonly [key: string]: Option | OptionTable };

type PlainValue<O> = O extends { type: 'integer' | 'number' | 'share' }
  ? number
  : O extends { type: 'integers' | 'numbers' }
    ? readonly number[]
    : O extends { type: 'string' | 'path' }
      ? string
      : O extends { type: 'boolean' }
        ? boolean
        : O extends { type: 'choice'; choices: readonly (infer Choice)[] }
          ? Choice
          : O extends { type: 'texts' }
            ? readonly string[]
            : O extends { type: 'grouped-list' }
              ? readonly (string | readonly string[])[]
              : O extends { type: 'image-size' }
                ? ImageSize
                : O extends { type: 'code-points' }
                  ? readonly [number, number]
                  : O extends { type: 'workers' }
                    ? number | 'auto'
                    : never;

/** The value of an option. */
type OptionValue<O> = O extends { nullable: true } ? PlainValue<O> | null : PlainValue<O>;

/** The values of a table of options. */
export type OptionValues<T> = {
  readonly [K in keyof T]: T[K] extends { type: string } ? OptionValue<T[K]> : OptionValues<T[K]>;
};

export function isOption(entry: Option | OptionTable): entry is Option {
  return typeof entry.type === 'string';
}
