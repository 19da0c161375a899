import type { Option, OptionTable } from '../option-types.js';

/** A training, of which there are three: of the generalist, of each specialist, of the student. */
interface TrainingSection<Kind extends string> {
  /** Before the name of each flag: empty, or with its dash. */
  readonly prefix: '' | 'specialist-' | 'student-';
  /** What is trained, after the descriptions that would otherwise read as those of another section. */
  readonly of: '' | ' of a specialist' | ' of a student';
  /** The schedules that it knows, and what each does. */
  readonly schedules: Readonly<Record<Kind, string>>;
  readonly defaults: {
    readonly epochs: number;
    readonly batchSize: number;
    readonly learningRate: number;
    readonly schedule: Kind;
    readonly warmup: number;
    readonly weightDecay: number;
  };
  readonly descriptions: Readonly<Record<'epochs' | 'batchSize' | 'labelSmoothing' | 'seed', string>>;
  /** Fewest images of a step; 1 by default. */
  readonly leastBatch?: number;
  /** Added to the description of the warm-up. */
  readonly warmupNote?: string;
}

const cosine = 'cosine falls to zero';
const constant = 'constant stays';

/** The schedules of a training without a check on validation. */
export const plainSchedules = { cosine, constant } as const;

/** Those of one with it. */
export const checkedSchedules = {
  plateau:
    'plateau stays until validation stops improving (--patience) or the last steps are due, then falls to zero over a quarter of the steps so far',
  cosine: `${cosine} over all epochs`,
  constant,
} as const;

/**
 * The options of a training, the same in every section that trains: only defaults, and what an epoch or a batch is of,
 * differ.
 */
export function trainingOptions<const Kind extends string>({
  prefix,
  of,
  schedules,
  defaults,
  descriptions,
  leastBatch = 1,
  warmupNote = '',
}: TrainingSection<Kind>) {
  return {
    epochs: {
      type: 'integer',
      flag: `${prefix}epochs`,
      default: defaults.epochs,
      min: 1,
      max: 100_000,
      affects: 'result',
      description: descriptions.epochs,
    },
    batchSize: {
      type: 'integer',
      flag: `${prefix}batch-size`,
      default: defaults.batchSize,
      min: leastBatch,
      max: 65_536,
      affects: 'result',
      description: descriptions.batchSize,
    },
    learningRate: {
      type: 'number',
      flag: `${prefix}learning-rate`,
      default: defaults.learningRate,
      min: 1e-8,
      max: 10,
      affects: 'result',
      description: `Set the highest learning rate${of}`,
    },
    schedule: {
      type: 'choice',
      flag: `${prefix}schedule`,
      default: defaults.schedule,
      choices: Object.keys(schedules) as Kind[],
      affects: 'result',
      description: `Choose the learning rate${of} after the warm-up: ${Object.values(schedules).join('; ')}`,
    },
    warmup: {
      type: 'number',
      flag: `${prefix}warmup`,
      default: defaults.warmup,
      min: 0,
      max: 0.9,
      affects: 'result',
      description: `Raise the learning rate${of} from near zero over this share of all steps${warmupNote}`,
    },
    weightDecay: {
      type: 'number',
      flag: `${prefix}weight-decay`,
      default: defaults.weightDecay,
      min: 0,
      max: 10,
      affects: 'result',
      description: `Set the decoupled weight decay${of}`,
    },
    labelSmoothing: {
      type: 'number',
      flag: `${prefix}label-smoothing`,
      default: 0,
      min: 0,
      max: 0.9,
      affects: 'result',
      description: descriptions.labelSmoothing,
    },
    optimizer: {
      type: 'choice',
      flag: `${prefix}optimizer`,
      default: 'adamw',
      choices: ['adamw', 'sgd'],
      affects: 'result',
      description: `Choose the optimiser${of}; sgd uses Nesterov momentum`,
    },
    seed: {
      type: 'integer',
      flag: `${prefix === '' ? 'generalist-' : prefix}seed`,
      default: null,
      nullable: true,
      min: 0,
      max: 0xffff_ffff,
      affects: 'result',
      description: descriptions.seed,
    },
  } as const satisfies OptionTable;
}

/** The limit on weights of a network that is trained from its first layer on. */
export function maxNormOption(prefix: '' | 'student-') {
  return {
    type: 'number',
    flag: `${prefix}max-norm`,
    default: null,
    nullable: true,
    min: 0.01,
    max: 1000,
    affects: 'result',
    description: "Limit the norm of each hidden unit's incoming weights (none: no limit)",
  } as const satisfies Option;
}

/** The options of a network. */
export const networkOptions = {
  convolutions: {
    type: 'integers',
    default: [32, 64],
    min: 1,
    max: 4096,
    affects: 'result',
    description: 'Set the filters of each convolutional block (none: a multi-layer perceptron)',
  },
  kernel: {
    type: 'choice',
    default: 3,
    choices: [1, 3, 5, 7],
    affects: 'result',
    description: 'Set the height and width of the filters in pixels',
  },
  dense: {
    type: 'integers',
    default: [192],
    min: 1,
    max: 65_536,
    affects: 'result',
    description: 'Set the units of each dense layer before the head (none: no such layer)',
  },
  normalisation: {
    type: 'choice',
    default: 'batch',
    choices: ['batch', 'none'],
    affects: 'result',
    description: 'Normalise the output of each layer but the head',
  },
  dropout: {
    type: 'number',
    default: 0,
    min: 0,
    max: 0.95,
    affects: 'result',
    description: 'Drop outputs of dense layers with this probability in training',
  },
} as const satisfies OptionTable;

/**
 * An option of a second network: the same values, and the generalist's where none is given.
 *
 * @param key in {@link networkOptions}
 */
export function asGeneralist<const Key extends Exclude<keyof typeof networkOptions, 'dropout'>>(key: Key) {
  const option: (typeof networkOptions)[Key] = networkOptions[key];
  const [what] = option.description.split(' (');
  // Of this choice "none" is a value, so that another word has to leave it open.
  const open = key === 'normalisation' ? 'left out' : 'none';
  return {
    ...option,
    flag: `student-${key}`,
    default: null,
    nullable: true,
    description: `${what} (${open}: the generalist's)`,
  } as const;
}
