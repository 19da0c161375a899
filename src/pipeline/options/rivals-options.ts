import type { OptionTable } from '../option-types.js';

/** Options of the stage that compares the specialists with what a user could do instead. */
export const rivalsOptions = {
  epochs: {
    type: 'integer',
    flag: 'rival-epochs',
    default: 5,
    min: 1,
    max: 1000,
    affects: 'result',
    description:
      'Train each rival for at most this many passes over the images, of 50 batches at least; validation may end it earlier',
  },
} as const satisfies OptionTable;
