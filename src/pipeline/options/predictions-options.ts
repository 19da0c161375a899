import type { OptionTable } from '../option-types.js';

/** Options of the stage that makes its predictions. */
export const predictionsOptions = {
  split: {
    type: 'choice',
    flag: 'predict-split',
    default: 'validation',
    choices: ['validation', 'train', 'test'],
    affects: 'result',
    description: 'Predict this split; the generalist should not have been trained on it',
  },
  mass: {
    type: 'number',
    flag: 'prediction-mass',
    default: 0.99,
    min: 0.01,
    max: 1,
    affects: 'result',
    description: 'Store classes of each image until their probabilities reach this sum',
  },
  maxTop: {
    type: 'integer',
    default: 50,
    min: 1,
    max: 10_000,
    affects: 'result',
    description: 'Store at most this many classes per image',
  },
} as const satisfies OptionTable;
