import type { OptionTable } from '../option-types.js';

/** Options of the stage that makes the report. */
export const reportOptions = {
  split: {
    type: 'choice',
    flag: 'evaluate-split',
    default: 'test',
    choices: ['test', 'validation'],
    affects: 'result',
    description: 'Part of the data to evaluate on',
  },
  maxExamples: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 1_000_000_000,
    affects: 'result',
    description: 'Most images to evaluate; none: all',
  },
  student: {
    type: 'boolean',
    flag: 'with-student',
    default: false,
    affects: 'result',
    description: 'Evaluate the student too, and make it when there is none',
  },
} as const satisfies OptionTable;
