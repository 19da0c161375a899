import { objectiveKinds } from '../../distillation/student-objective.js';
import type { OptionTable } from '../option-types.js';
import {
  asGeneralist,
  maxNormOption,
  networkOptions,
  plainSchedules,
  trainingOptions,
} from './training-options.js';

/** Options of the stage that makes the student. */
export const studentOptions = {
  definition: {
    type: 'path',
    flag: 'student',
    default: null,
    nullable: true,
    // What stands in the file decides, and is kept as if it stood in the pipeline.
    affects: 'execution',
    description: 'Read options of this section from a YAML file, such as the network',
  },
  network: {
    convolutions: asGeneralist('convolutions'),
    kernel: asGeneralist('kernel'),
    dense: asGeneralist('dense'),
    normalisation: asGeneralist('normalisation'),
    dropout: { ...networkOptions.dropout, flag: 'student-dropout' },
  },
  objective: {
    type: 'choice',
    default: 'soft-targets',
    choices: objectiveKinds,
    affects: 'result',
    description:
      "Choose what the student learns: the teacher's distributions, these with the label apart from the other classes, or of logits of one scale, the logits themselves, or labels without a teacher",
  },
  otherWeight: {
    type: 'number',
    default: 4,
    min: 0,
    max: 1000,
    affects: 'result',
    description:
      'Weight the distribution among the classes other than the label by this much, with --objective decoupled',
  },
  temperature: {
    type: 'numbers',
    default: [2],
    min: 1,
    max: 1000,
    affects: 'result',
    description:
      "Soften the teacher's distributions with this temperature; of several, the best on validation is kept",
  },
  hardWeight: {
    type: 'numbers',
    default: [0.1],
    min: 0,
    max: 1000,
    affects: 'result',
    description:
      "Weight the labels by this much against the teacher's 1; of several, the best on validation is kept",
  },
  rest: {
    type: 'choice',
    default: 'bucket',
    choices: ['bucket', 'spread'],
    affects: 'result',
    description:
      'Treat classes without a stored soft target as one bucket with their sum, or spread the sum evenly over them',
  },
  transferClasses: {
    type: 'integers',
    default: null,
    nullable: true,
    min: 0,
    max: 999_999,
    affects: 'result',
    description: 'Train on images of these classes only, given by index (none: all)',
  },
  transferWithout: {
    type: 'integers',
    default: [],
    min: 0,
    max: 999_999,
    affects: 'result',
    description: 'Leave out images of these classes, given by index',
  },
  transferShare: {
    type: 'number',
    default: 1,
    min: 0.0001,
    max: 1,
    affects: 'result',
    description: 'Train on this share of the images of each class',
  },
  biasCorrection: {
    type: 'choice',
    default: 'validation',
    choices: ['validation', 'test-too', 'none'],
    affects: 'result',
    description:
      'Fit the bias of classes without images in the transfer set, on validation; test-too also reports the bias that is best on the test, without using it',
  },
  ...trainingOptions({
    prefix: 'student-',
    of: ' of a student',
    schedules: plainSchedules,
    defaults: {
      epochs: 10,
      batchSize: 128,
      learningRate: 0.002,
      schedule: 'cosine',
      warmup: 0.05,
      weightDecay: 0.01,
    },
    descriptions: {
      epochs: 'Train for this many passes over the transfer set',
      batchSize: 'Use this many images per step',
      labelSmoothing: 'Spread this much probability of each label over all classes',
      seed: "Use another seed for the student's initial weights and the order of images",
    },
  }),
  maxNorm: maxNormOption('student-'),
  keep: {
    type: 'choice',
    default: 'last',
    choices: ['last', 'best'],
    affects: 'result',
    description: 'Keep the weights of the last epoch, or of the epoch that is best on validation',
  },
  curve: {
    type: 'boolean',
    default: false,
    affects: 'result',
    description: 'Report accuracy on transfer, validation and test images after every epoch',
  },
} as const satisfies OptionTable;
