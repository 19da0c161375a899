import type { OptionTable } from '../option-types.js';

/** Options of the stage that makes its predictions. */
export const predictionsOptions = {
  split: {
    type: 'choice',
    flag: 'predict-split',
    default: 'validation',
    choices: ['validation', 'train', 'test'],
    affects: 'result',
    description: 'Part of the data to predict; the generalist should not have been fitted to it',
  },
  mass: {
    type: 'number',
    flag: 'prediction-mass',
    default: 0.99,
    min: 0.01,
    max: 1,
    affects: 'result',
    description: 'Probability mass that the classes kept for an image must reach',
  },
  maxTop: {
    type: 'integer',
    default: 50,
    min: 1,
    max: 10_000,
    affects: 'result',
    description: 'Most classes kept for an image',
  },
} as const satisfies OptionTable;
