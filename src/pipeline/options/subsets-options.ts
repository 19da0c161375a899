import type { OptionTable } from '../option-types.js';

/** Options of the stage that makes the subsets. */
export const subsetsOptions = {
  predictions: {
    type: 'path',
    default: null,
    nullable: true,
    // The path itself decides nothing: the content of the files is an input of the stage.
    affects: 'execution',
    description: 'Prediction rows made elsewhere (an Arrow file or a folder of them), instead of our own',
  },
  file: {
    type: 'path',
    flag: 'subsets',
    default: null,
    nullable: true,
    // As with predictions, the content is an input of the stage.
    affects: 'execution',
    description:
      'Subsets made elsewhere, in the form of subsets.json, instead of clustering: what says how many and how large then decides nothing',
  },
  affinity: {
    type: 'choice',
    default: 'covariance',
    choices: ['covariance', 'confusion'],
    affects: 'result',
    description: 'Matrix whose columns are clustered; confusion needs labels',
  },
  confusion: {
    type: 'choice',
    default: 'soft',
    choices: ['soft', 'hard'],
    affects: 'result',
    description: 'Confusion counts probabilities (soft) or first answers (hard)',
  },
  distance: {
    type: 'choice',
    default: 'cosine',
    choices: ['cosine', 'euclidean'],
    affects: 'result',
    description: 'Distance between columns',
  },
  clusters: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 100_000,
    affects: 'result',
    description: 'Subsets of the partition; none: chosen from the number of classes',
  },
  minSize: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 1_000_000,
    affects: 'result',
    description: 'Fewest classes of a subset; none: a bound around the mean',
  },
  maxSize: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 1_000_000,
    affects: 'result',
    description: 'Most classes of a subset; none: a bound around the mean',
  },
  balance: {
    type: 'choice',
    default: 'classes',
    choices: ['classes', 'confusion'],
    affects: 'result',
    description:
      'What a partition bounds: the classes of a subset, or beside them the confusion that its classes take part in',
  },
  maxMass: {
    type: 'number',
    default: 1.25,
    min: 1,
    max: 1000,
    affects: 'result',
    description: 'With --balance confusion: most confusion of a subset, in means of all subsets',
  },
  specialists: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 100_000,
    affects: 'result',
    description: 'Fixed number of subsets, which may overlap; with --size, instead of a partition',
  },
  size: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 1_000_000,
    affects: 'result',
    description: 'Classes of each of these subsets; with --specialists, instead of a partition',
  },
  epochs: {
    type: 'integer',
    flag: 'cluster-epochs',
    default: 1,
    min: 1,
    max: 10_000,
    affects: 'result',
    description: 'Passes of online k-means over the columns',
  },
} as const satisfies OptionTable;
