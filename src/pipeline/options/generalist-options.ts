import type { OptionTable } from '../option-types.js';
import { checkedSchedules, maxNormOption, networkOptions, trainingOptions } from './training-options.js';

/** Options of the stage that makes the generalist. */
export const generalistOptions = {
  network: networkOptions,
  head: {
    sampled: {
      type: 'integer',
      flag: 'sampled-head',
      default: null,
      nullable: true,
      min: 2,
      max: 1_000_000,
      affects: 'result',
      description:
        'Compute this many classes per training step and estimate the others, for very many classes (none: compute all)',
    },
  },
  ...trainingOptions({
    prefix: '',
    of: '',
    schedules: checkedSchedules,
    defaults: {
      epochs: 100,
      batchSize: 32,
      learningRate: 0.002,
      schedule: 'plateau',
      warmup: 0.05,
      weightDecay: 0.01,
    },
    warmupNote: '; over at most one epoch with --schedule plateau',
    descriptions: {
      epochs: 'Train for this many passes over the training images; with --patience, for at most as many',
      batchSize: 'Use this many images per step',
      labelSmoothing: 'Spread this much probability of each target over all classes',
      seed: 'Use another seed for the initial weights and the order of images, to train several generalists on one data set',
    },
  }),
  maxNorm: maxNormOption(''),
  refit: {
    share: {
      type: 'share',
      flag: 'refit-share',
      default: 0,
      min: 0,
      max: 1,
      affects: 'result',
      description:
        'Refit the last layer of an imported model on the training images, and let the specialists stand on this share of it mixed with the original (0: on the model as it is). Gain and harm are measured against the model as it is',
    },
    views: {
      type: 'integer',
      flag: 'refit-views',
      default: null,
      nullable: true,
      min: 1,
      max: 1000,
      affects: 'result',
      description:
        'Refit that layer on this many augmented views of each training image (none: as many as specialists see, --views); a view that both see is computed once',
    },
  },
  patience: {
    type: 'integer',
    default: 5,
    nullable: true,
    min: 1,
    max: 1000,
    affects: 'result',
    description:
      'Stop training after this many validation checks in a row without a lower loss (at its best temperature), and keep the best weights. Checks run after each epoch, and every 1,000 steps of a longer one (none: train all epochs and keep the last weights)',
  },
  augment: {
    type: 'boolean',
    flag: 'generalist-augment',
    default: true,
    affects: 'result',
    description: 'Augment training images as the data set defines, differently in each epoch',
  },
  checkpointSeconds: {
    type: 'number',
    default: 60,
    min: 1,
    max: 86_400,
    affects: 'execution',
    description: 'Write a checkpoint every so many seconds',
  },
} as const satisfies OptionTable;
