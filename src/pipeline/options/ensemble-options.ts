import { fusionRules } from '../../ensemble/rules/index.js';
import type { OptionTable } from '../option-types.js';

const rules = fusionRules.map(({ name, title }) => `${name} (${title})`).join(', ');

/** Options of the stage that makes the calibrated ensemble. */
export const ensembleOptions = {
  routingTop: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 1000,
    affects: 'result',
    description:
      "Query the specialists of this many of the generalist's most probable classes (none: 1, or --routing-mass 0.03125 where bystanders bound the harm)",
  },
  routingMass: {
    type: 'number',
    default: null,
    nullable: true,
    min: 0.001,
    max: 1,
    affects: 'result',
    description:
      'Query a specialist if the generalist gives at least this probability to its subset, instead of --routing-top (none: --routing-top decides)',
  },
  harm: {
    type: 'share',
    default: 0.005,
    nullable: true,
    min: 0,
    max: 1,
    affects: 'result',
    description:
      'Allow at most this loss of accuracy on bystanders, as in 0.5% or 0.005; rules and mass shifts are chosen under it (none: no bound)',
  },
  rule: {
    type: 'choice',
    default: 'auto',
    choices: [...fusionRules.map(({ name }) => name), 'auto'],
    affects: 'result',
    description: `Choose how distributions are fused: ${rules}; auto takes the rule that is best on validation, within --harm where there are bystanders`,
  },
  calibrate: {
    type: 'boolean',
    default: true,
    affects: 'result',
    description: 'Fit temperatures, weights and a share of label noise on validation',
  },
  weights: {
    type: 'choice',
    default: 'shared',
    choices: ['shared', 'each'],
    affects: 'result',
    description: 'Fit one fusion weight for all specialists, or one for each',
  },
  select: {
    type: 'boolean',
    default: true,
    affects: 'result',
    description: 'Leave out specialists that do not help on validation',
  },
  selectionErrors: {
    type: 'number',
    default: 1,
    min: 0,
    max: 10,
    affects: 'result',
    description: 'Keep a specialist if its gain on validation exceeds zero by this many standard errors',
  },
  risk: {
    type: 'share',
    default: null,
    nullable: true,
    min: 0.0001,
    max: 0.5,
    affects: 'result',
    description:
      'Bound the chance of using an ensemble that is worse than the generalist, such as 5%: a third of validation is held out, and specialists are used only if it shows a gain',
  },
} as const satisfies OptionTable;
