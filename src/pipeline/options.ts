import type { OptionTable, OptionValues } from './option-types.js';
import { answersOptions } from './options/answers-options.js';
import { datasetOptions } from './options/dataset-options.js';
import { ensembleOptions } from './options/ensemble-options.js';
import type { generalOptions } from './options/general-options.js';
import { generalistOptions } from './options/generalist-options.js';
import { predictionsOptions } from './options/predictions-options.js';
import { reportOptions } from './options/report-options.js';
import { rivalsOptions } from './options/rivals-options.js';
import { serveOptions } from './options/serve-options.js';
import { specialistsOptions } from './options/specialists-options.js';
import { studentOptions } from './options/student-options.js';
import { subsetsOptions } from './options/subsets-options.js';
import type { StageName } from './stage-names.js';

/**
 * The one table of options, a file for each stage. A pipeline key is `section.key` (the general ones have no section),
 * a flag is the key in kebab case unless the entry names another, an environment name is `KD_SPEC_` and the flag in
 * upper case.
 */
export const stageOptions = {
  dataset: datasetOptions,
  generalist: generalistOptions,
  predictions: predictionsOptions,
  subsets: subsetsOptions,
  specialists: specialistsOptions,
  ensemble: ensembleOptions,
  rivals: rivalsOptions,
  answers: answersOptions,
  student: studentOptions,
  report: reportOptions,
} as const satisfies Record<StageName, OptionTable>;

/** Options of commands that make no stage's artefact, by command. */
export const commandOptions = { serve: serveOptions } as const satisfies Record<string, OptionTable>;
export type CommandSection = keyof typeof commandOptions;

/** Every option with the value in force. */
export type Settings = OptionValues<typeof generalOptions> &
  OptionValues<typeof stageOptions> &
  OptionValues<typeof commandOptions>;
