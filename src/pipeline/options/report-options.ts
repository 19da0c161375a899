import type { OptionTable } from '../option-types.js';

/**
 * What runs an ensemble: its networks on a backend, or its exported form in ONNX Runtime; `auto` is the networks of a
 * workspace, and of a file the fastest ONNX Runtime that is installed.
 */
export const runtimes = ['auto', 'onnx', 'tensorflow', 'wasm'] as const;

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
  runtime: {
    type: 'choice',
    default: 'auto',
    choices: runtimes,
    affects: 'result',
    description:
      'Evaluate what networks predict (tensorflow, wasm) or, as it would be exported, ONNX Runtime (onnx); auto takes the networks on --backend',
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
    description:
      'Show the comparison with rivals too; make it first if there is none (patch does unless this is false)',
  },
} as const satisfies OptionTable;
