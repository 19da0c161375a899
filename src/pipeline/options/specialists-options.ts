import type { OptionTable } from '../option-types.js';
import { plainSchedules, trainingOptions } from './training-options.js';

/** Options of the stage that makes the specialists and where they are trained. */
export const specialistsOptions = {
  retrain: {
    type: 'choice',
    default: 'top',
    choices: ['head', 'top', 'all'],
    affects: 'result',
    description:
      'Choose what a specialist retrains: its head, the dense layers too (top), or the whole network',
  },
  head: {
    type: 'choice',
    flag: 'specialist-head',
    default: 'dustbin',
    choices: ['dustbin', 'anchored', 'full'],
    affects: 'result',
    description:
      "Choose the outputs of a specialist: its classes and a dustbin; the same with the dustbin anchored in the generalist's own logit for all other classes, as is the default of an imported model; or all classes, with the generalist's soft targets for images of other classes",
  },
  dense: {
    type: 'integers',
    flag: 'specialist-dense',
    default: null,
    nullable: true,
    min: 1,
    max: 65_536,
    affects: 'result',
    description:
      "Set the units of each dense layer of a specialist, at least the generalist's; it starts with the generalist's predictions and has room to learn more (none: the generalist's)",
  },
  ...trainingOptions({
    prefix: 'specialist-',
    of: ' of a specialist',
    schedules: plainSchedules,
    defaults: {
      epochs: 10,
      batchSize: 32,
      learningRate: 0.001,
      schedule: 'cosine',
      warmup: 0.1,
      weightDecay: 0.01,
    },
    leastBatch: 2, // one of its own classes, and one of another
    descriptions: {
      epochs: "Train for this many passes over the images of a specialist's own classes",
      batchSize: "Use this many images per step, of a specialist's own classes and of others together",
      labelSmoothing: "Spread this much probability of a specialist's targets over all its outputs",
      seed: 'Use another seed for the order and the choice of images, to train other specialists of the same subsets',
    },
  }),
  specialFraction: {
    type: 'number',
    default: 0.5,
    min: 0.01,
    max: 0.99,
    affects: 'result',
    description: "Draw this share of a batch from a specialist's own classes",
  },
  views: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 1,
    max: 1000,
    affects: 'result',
    description:
      'Cache the features of this many augmented views per image, if the lower layers stay frozen (none: 4; of an imported model, whose layers may take long, as many of 4 as have at most 12,000 images pass them, and 1 at least)',
  },
  routedShare: {
    type: 'number',
    default: 0,
    min: 0,
    max: 1,
    affects: 'result',
    description:
      "Draw this share of the images of other classes by the generalist's probability for the subset, the rest uniformly",
  },
  softShare: {
    type: 'number',
    default: 0,
    min: 0,
    max: 0.99,
    affects: 'result',
    description: "Mix the generalist's predictions into a specialist's targets with this weight",
  },
  parallel: {
    type: 'workers',
    default: null,
    nullable: true,
    affects: 'execution',
    description:
      'Train specialists in this many child processes; without a number, in as many as cores and free memory allow (none: in this process)',
  },
  hangSeconds: {
    type: 'number',
    default: null,
    nullable: true,
    min: 1,
    max: 604_800,
    affects: 'execution',
    description:
      'End a child process after this many seconds without progress and train its specialist again; implies --parallel 1 (none: 900)',
  },
  workerMemory: {
    type: 'integer',
    default: null,
    nullable: true,
    min: 64,
    max: 16_777_216,
    affects: 'execution',
    description:
      'End a child process that takes more than this many megabytes; implies --parallel 1 (none: its share of the free memory)',
  },
  engine: {
    type: 'choice',
    default: 'local',
    choices: ['local', 'slurm', 'kubernetes'],
    affects: 'execution',
    description:
      'Choose where specialists are trained: on this machine, or by jobs of a cluster that shares the workspace',
  },
  wait: {
    type: 'boolean',
    default: false,
    affects: 'execution',
    description: 'Wait for the jobs of a cluster, show their progress, and resubmit those that are lost',
  },
  slurm: {
    partition: {
      type: 'string',
      flag: 'slurm-partition',
      default: null,
      nullable: true,
      affects: 'execution',
      description: "Submit to this partition (none: the cluster's default)",
    },
    account: {
      type: 'string',
      flag: 'slurm-account',
      default: null,
      nullable: true,
      affects: 'execution',
      description: 'Charge this account',
    },
    time: {
      type: 'string',
      flag: 'slurm-time',
      default: null,
      nullable: true,
      affects: 'execution',
      description:
        'Set the time limit of a job in the format of sbatch, e.g. 90 (minutes) or 4:00:00; a job that nears its limit is continued by the next',
    },
    memory: {
      type: 'string',
      flag: 'slurm-memory',
      default: null,
      nullable: true,
      affects: 'execution',
      description: 'Set the memory of a job in the format of sbatch, e.g. 8G',
    },
    cpus: {
      type: 'integer',
      flag: 'slurm-cpus',
      default: 1,
      min: 1,
      max: 1024,
      affects: 'execution',
      description: 'Set the processor cores of a job',
    },
    gpus: {
      type: 'integer',
      flag: 'slurm-gpus',
      default: 0,
      min: 0,
      max: 64,
      affects: 'execution',
      description: 'Set the GPUs of a job; a specialist uses one',
    },
    atMost: {
      type: 'integer',
      flag: 'slurm-at-most',
      default: null,
      nullable: true,
      min: 1,
      max: 1_000_000,
      affects: 'execution',
      description: 'Run at most this many jobs at once (none: no limit)',
    },
    options: {
      type: 'string',
      flag: 'slurm-options',
      default: null,
      nullable: true,
      affects: 'execution',
      description: 'Pass further options to sbatch, e.g. --slurm-options="--qos=long --constraint=a100"',
    },
    setup: {
      type: 'string',
      flag: 'slurm-setup',
      default: null,
      nullable: true,
      affects: 'execution',
      description: 'Run this shell text first in each job, e.g. "module load cuda"',
    },
  },
} as const satisfies OptionTable;
