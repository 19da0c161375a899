import type { OptionTable } from '../option-types.js';

/** Options of the stage that makes the report. */
export const reportOptions = {
  split: {
    type: 'choice',
    flag: 'evaluate-split',
    default: 'test',
    choices: ['test', 'validation'],
    affects: 'result',
    description: 'Evaluate on this split',
  },
  maxExamples: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 1_000_000_000,
    affects: 'result',
    description: 'Evaluate at most this many images (none: all)',
  },
  student: {
    type: 'boolean',
    flag: 'with-student',
    default: false,
    affects: 'result',
    description: 'Evaluate the student too; distil it first if there is none',
  },
  rivals: {
    type: 'boolean',
    flag: 'with-rivals',
    default: false,
    affects: 'result',
    description: 'Show the comparison with rivals too; make it first if there is none',
  },
} as const satisfies OptionTable;
