import { fusionRules } from '../../ensemble/rules/index.js';
import type { OptionTable } from '../option-types.js';

const rules = fusionRules.map(({ name, title }) => `${name} (${title})`).join(', ');

/** Options of the stage that makes the calibrated ensemble. */
export const ensembleOptions = {
  routingTop: {
    type: 'integer',
    default: 1,
    min: 1,
    max: 1000,
    affects: 'result',
    description: "The generalist's most probable classes that call the specialists they belong to",
  },
  routingMass: {
    type: 'number',
    default: null,
    nullable: true,
    min: 0.001,
    max: 1,
    affects: 'result',
    description:
      'Least mass of the generalist on a subset that calls its specialist, instead of the top classes',
  },
  rule: {
    type: 'choice',
    default: 'auto',
    choices: [...fusionRules.map(({ name }) => name), 'auto'],
    affects: 'result',
    description: `How distributions are fused: ${rules}; auto takes the rule that validation prefers`,
  },
  calibrate: {
    type: 'boolean',
    default: true,
    affects: 'result',
    description: 'Fit temperatures and weights on validation',
  },
  weights: {
    type: 'choice',
    default: 'shared',
    choices: ['shared', 'each'],
    affects: 'result',
    description: 'One fusion weight for all specialists, or one for each',
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
    description: "Standard errors by which a specialist's gain on validation must exceed zero",
  },
} as const satisfies OptionTable;
