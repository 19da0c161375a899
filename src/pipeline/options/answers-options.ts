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
      'ensemble, generalist, or a path: a checkpoint folder, a workspace with an ensemble, an ONNX file, predictions ' +
      'as Arrow files; several become one by their mean',
  },
  mean: {
    type: 'choice',
    default: 'arithmetic',
    choices: ['arithmetic', 'geometric'],
    affects: 'result',
    description: 'How several teachers become one',
  },
  transfer: {
    type: 'path',
    default: null,
    nullable: true,
    // The path itself decides nothing: the content of the files is an input of the stage.
    affects: 'execution',
    description:
      'Images the student learns on: a data set of kd-spec, or a folder of images without labels; none: the training ' +
      'images',
  },
  views: {
    type: 'integer',
    flag: 'transfer-views',
    default: 0,
    min: 0,
    max: 1000,
    affects: 'result',
    description: 'Augmented views of each image that the teacher is asked about; 0: the image as it is',
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
      'Classes of an answer that are stored beside the sum of the others; none: 100, or all of few classes',
  },
} as const satisfies OptionTable;
