import type { OptionTable } from '../option-types.js';

/** Options of the stage that makes the subsets. */
export const subsetsOptions = {
  predictions: {
    type: 'path',
    default: null,
    nullable: true,
    // The path itself decides nothing: the content of the files is an input of the stage.
    affects: 'execution',
    description:
      "Cluster these predictions instead of the generalist's: an Arrow or Feather file or a folder of them, .npz, .npy or .parquet; - reads standard input",
  },
  file: {
    type: 'path',
    flag: 'subsets',
    default: null,
    nullable: true,
    // As with predictions, the content is an input of the stage.
    affects: 'execution',
    description: 'Use subsets made elsewhere, in the form of subsets.json, instead of clustering',
  },
  affinity: {
    type: 'choice',
    default: 'covariance',
    choices: ['covariance', 'confusion'],
    affects: 'result',
    description: 'Cluster the columns of this matrix; confusion needs labels',
  },
  confusion: {
    type: 'choice',
    default: 'soft',
    choices: ['soft', 'hard'],
    affects: 'result',
    description: 'Count probabilities (soft) or most probable classes (hard) in the confusion matrix',
  },
  distance: {
    type: 'choice',
    default: 'cosine',
    choices: ['cosine', 'euclidean'],
    affects: 'result',
    description: 'Measure the distance between columns by this metric',
  },
  clusters: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 100_000,
    affects: 'result',
    description: 'Partition the classes into this many subsets (none: chosen from the number of classes)',
  },
  minSize: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 1_000_000,
    affects: 'result',
    description: 'Set the fewest classes of a subset (none: a bound around the mean)',
  },
  maxSize: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 1_000_000,
    affects: 'result',
    description: 'Set the most classes of a subset (none: a bound around the mean)',
  },
  balance: {
    type: 'choice',
    default: 'classes',
    choices: ['classes', 'confusion'],
    affects: 'result',
    description: 'Bound the number of classes in a subset, or its confusion too',
  },
  maxMass: {
    type: 'number',
    default: 1.25,
    min: 1,
    max: 1000,
    affects: 'result',
    description:
      'Limit the confusion of a subset with --balance confusion, in multiples of the mean over all subsets',
  },
  specialists: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 100_000,
    affects: 'result',
    description:
      'Make this many subsets of fixed size, which may overlap, instead of a partition; needs --size',
  },
  size: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 1_000_000,
    affects: 'result',
    description: 'Put this many classes in each of these subsets; needs --specialists',
  },
  epochs: {
    type: 'integer',
    flag: 'cluster-epochs',
    default: 1,
    min: 1,
    max: 10_000,
    affects: 'result',
    description: 'Pass over the columns this many times in online k-means',
  },
} as const satisfies OptionTable;
