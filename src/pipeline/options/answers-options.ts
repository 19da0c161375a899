import type { OptionTable } from '../option-types.js';

/** Teachers that are stages of the workspace itself; any other is a path. */
export const ownTeachers = ['ensemble', 'generalist'] as const;

/** Options of the stage that makes the teachers' answers. */
export const answersOptions = {
  teachers: {
    type: 'texts',
    flag: 'teacher',
    default: ['ensemble'],
    affects: 'result',
    description:
      'Query this teacher for soft targets: ensemble, generalist, or the path of a checkpoint folder, of a workspace, of an ONNX file, or of predictions as Arrow files; several are averaged',
  },
  mean: {
    type: 'choice',
    default: 'arithmetic',
    choices: ['arithmetic', 'geometric'],
    affects: 'result',
    description: 'Choose how several teachers are averaged',
  },
  transfer: {
    type: 'path',
    default: null,
    nullable: true,
    // The path itself decides nothing: the content of the files is an input of the stage.
    affects: 'execution',
    description:
      'Train the student on these images: a data set written by kd-spec, or a folder of images without labels (none: the training images)',
  },
  views: {
    type: 'integer',
    flag: 'transfer-views',
    default: 0,
    min: 0,
    max: 1000,
    affects: 'result',
    description: 'Store soft targets for this many augmented views of each image (0: for the image as it is)',
  },
  top: {
    type: 'integer',
    flag: 'answers-top',
    default: null,
    nullable: true,
    min: 1,
    max: 1_000_000,
    affects: 'result',
    description:
      'Store this many classes for each image, and the sum of the others (none: 100, or all where there are at most 200)',
  },
} as const satisfies OptionTable;
