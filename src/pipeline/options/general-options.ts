import { backendNames } from '../../compute/backend.js';
import type { OptionTable } from '../option-types.js';

/** Options of every command; their pipeline keys have no section. */
export const generalOptions = {
  workspace: {
    type: 'path',
    default: 'kd-workspace',
    affects: 'execution',
    description: 'Folder that holds one artefact for each stage',
  },
  pipeline: {
    type: 'string',
    default: null,
    nullable: true,
    affects: 'execution',
    description:
      "Pipeline file, or the name of one of kd-spec's own; none: the workspace's, or else the default",
  },
  seed: {
    type: 'integer',
    default: 1,
    min: 0,
    max: 0xffff_ffff,
    affects: 'result',
    description: 'Seed of everything that is drawn at random',
  },
  backend: {
    type: 'choice',
    default: 'auto',
    choices: backendNames,
    affects: 'execution',
    description: 'Compute backend; auto takes the fastest that is installed',
  },
  resume: {
    type: 'boolean',
    default: true,
    affects: 'execution',
    description: 'Continue what an interrupted run left; --no-resume starts that stage afresh',
  },
  dryRun: {
    type: 'boolean',
    default: false,
    affects: 'execution',
    description: 'Print the plan and do nothing',
  },
  quiet: {
    type: 'boolean',
    default: false,
    affects: 'execution',
    description: 'Print no progress, only warnings and errors',
  },
  json: {
    type: 'boolean',
    default: false,
    affects: 'execution',
    description: 'Print exactly one JSON object on stdout',
  },
} as const satisfies OptionTable;
