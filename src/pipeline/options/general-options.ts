import { backendNames } from '../../compute/backend.js';
import type { OptionTable } from '../option-types.js';

/** Options of every command; their pipeline keys have no section. */
export const generalOptions = {
  workspace: {
    type: 'path',
    default: 'kd-workspace',
    affects: 'execution',
    description: 'Keep all artefacts in this folder',
  },
  pipeline: {
    type: 'string',
    default: null,
    nullable: true,
    affects: 'execution',
    description:
      "Read settings from this pipeline file, or from one of kd-spec's own by name (none: the workspace's if it has one, else the default)",
  },
  seed: {
    type: 'integer',
    default: 1,
    min: 0,
    max: 0xffff_ffff,
    affects: 'result',
    description: 'Seed all random draws',
  },
  backend: {
    type: 'choice',
    default: 'auto',
    choices: backendNames,
    affects: 'execution',
    description:
      'Choose the compute backend; auto takes the fastest, by a short measurement where several are installed',
  },
  resume: {
    type: 'boolean',
    default: true,
    affects: 'execution',
    description:
      'Continue where an interrupted run stopped; --no-resume starts that stage from its beginning',
  },
  dryRun: {
    type: 'boolean',
    default: false,
    affects: 'execution',
    description: 'Print the plan and do nothing',
  },
  tensorboard: {
    type: 'boolean',
    default: false,
    affects: 'execution',
    description: 'Write metrics as event files for TensorBoard too, to tensorboard/ in the workspace',
  },
  mlflow: {
    type: 'string',
    default: null,
    nullable: true,
    affects: 'execution',
    description: 'Send metrics and settings to the MLflow server at this URL too',
  },
  quiet: {
    type: 'boolean',
    default: false,
    affects: 'execution',
    description: 'Print only warnings and errors, no progress',
  },
  json: {
    type: 'boolean',
    default: false,
    affects: 'execution',
    description: 'Print exactly one JSON object on stdout',
  },
} as const satisfies OptionTable;
