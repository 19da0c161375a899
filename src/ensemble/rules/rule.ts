import type { GeometricMean } from '../../compute/operations.js';
import { softmax } from '../../math/softmax.js';
import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import {
  type Logarithms,
  type Probabilities,
  type SpecialistPrediction,
  smallestSoftmax,
} from './distributions.js';
import type { Queried } from './graph-form.js';

/** A number that a rule has beside the temperatures and weights that every rule has. */
export interface RuleParameter {
  /** As in `ensemble.json`. */
  readonly name: string;
  /** For a person, in a few words. */
  readonly title: string;
  /** Whether there is one for the ensemble, or one for each specialist. */
  readonly per: 'ensemble' | 'specialist';
  /** Its value where nothing was fitted. */
  readonly neutral: number;
  /** Least and greatest value that calibration tries, beside the neutral one. */
  readonly range: readonly [number, number];
  /** The scale on which calibration searches; `log` for what is above 0. */
  readonly scale: 'log' | 'linear';
  /** How near calibration comes to the best value: relative on a `log` scale, else absolute. */
  readonly tolerance: number;
  /**
   * What decides it: the likelihood of validation images, or also what becomes of bystanders, images of classes that
   * no specialist learns. Without bystanders such a parameter stays neutral.
   */
  readonly fittedOn: 'validation' | 'validation and bystanders';
}

/**
 * What the log odds of a subset against all other classes are raised by, in nats.
 *
 * Where only some classes have images, more of it is always more likely on validation, which has no image of the other
 * classes: only bystanders tell what it costs those.
 */
export const massShift: RuleParameter = {
  name: 'massShift',
  title: 'what the log odds of a subset are raised by, in nats',
  per: 'specialist',
  neutral: 0,
  range: [-4, 4],
  scale: 'linear',
  tolerance: 0.05,
  fittedOn: 'validation and bystanders',
};

/** Values of parameters by name; one that is missing is neutral. */
export type ParameterValues = Readonly<Record<string, number>>;

/** Options of {@link Fuse}. */
export interface FusionOptions {
  /** Above 0; default 1. */
  readonly generalistWeight?: number;
  /** Of the parameters that are per ensemble. */
  readonly parameters?: ParameterValues;
  /** (classes), of the generalist; spares a rule that needs logarithms to take them. */
  readonly logarithms?: Logarithms;
  /** (classes), where the fused distribution is written instead of into a new array. */
  readonly out?: Float64Array;
}

/**
 * The exact form of a rule: double precision, every input checked.
 *
 * @param generalist (classes), `p^g`; sums to 1
 * @param specialists the active ones
 * @returns (classes), sums to 1
 * @throws KdSpecError `fusion-input` when something is not a distribution, or a class is out of range
 */
export type Fuse = (
  generalist: Probabilities,
  specialists: readonly SpecialistPrediction[],
  options?: FusionOptions,
) => Float64Array;

/** What an active specialist predicts for one image, as its network computes it. */
export interface SpecialistLogits {
  /** (s), the subset: distinct class indices. */
  readonly classes: Int32Array;
  /** (s + 1), the dustbin last, its correction added. */
  readonly logits: Float32Array;
  /** (s), what q has for the classes, if that is at hand. */
  readonly masses?: Float32Array | undefined;
  /** Above 0. */
  readonly temperature: number;
  /** Beside the generalist's of 1, above 0. */
  readonly weight: number;
  /** Of the parameters that are per specialist. */
  readonly parameters?: ParameterValues | undefined;
}

/**
 * The fast form of a rule: single precision, in place, nothing checked.
 *
 * @param q (classes), the generalist's softmax at its temperature; becomes the fused distribution
 * @param specialists the active ones, one or more
 */
export type FuseInPlace = (q: Float32Array, specialists: readonly SpecialistLogits[]) => void;

/** The mass of a subset, and of the other classes: each by itself, since 1 less a mass near 1 would be rounding. */
export interface MassOfSubset {
  readonly inside: number;
  readonly outside: number;
}

/** What is believed about the mass of a subset before a rule moves it. */
export interface MassBeliefs {
  /** Q_S, the generalist's, above 0 and below 1. */
  readonly inside: number;
  /** 1 - p^m_dustbin, the specialist's, above 0. */
  readonly named: number;
  readonly dustbin: number;
}

/** What the time of a fusion depends on. */
export interface FusionSizes {
  /** The number of active specialists. */
  readonly active: number;
  /** The sum of the sizes of their subsets. */
  readonly inSubsets: number;
  /** Groups of classes that lie in the same of these subsets. */
  readonly groups: number;
}

/** What a fast form is made for. */
export interface FastFormOptions {
  readonly classCount: number;
  /** Classes of the largest subset. */
  readonly largestSubset: number;
  /** Of the parameters that are per ensemble. */
  readonly parameters: ParameterValues;
  /** For s + 1 values or more, where the backend has such a kernel. */
  readonly kernel?: GeometricMean | undefined;
}

/**
 * A way to fuse a generalist's and its specialists' distributions. The list of all is in `index.ts`; command line,
 * `ensemble.json`, calibration and documentation take what they need to know of a rule from here.
 */
export interface FusionRule {
  /** As `--rule` and `ensemble.json` name it. */
  readonly name: string;
  /** For a person, in a few words. */
  readonly title: string;
  /** The problem that its distribution solves, as a formula over q. */
  readonly problem: string;
  /** Beside temperatures and weights. */
  readonly parameters: readonly RuleParameter[];
  /** Whether the dustbin's logit, and so its correction, makes a difference. */
  usesDustbin(parameters: ParameterValues): boolean;
  /**
   * The mass of a subset, where one specialist is active and where the rule's parameters change nothing else: proportions
   * inside and outside stay. Calibration can then fit them without another fusion for every value.
   *
   * @param parameters that are per ensemble
   * @param own of the specialist
   */
  massOf?(
    beliefs: MassBeliefs,
    parameters: ParameterValues | undefined,
    own: ParameterValues | undefined,
  ): MassOfSubset;
  /** What an exact fusion of one example takes, for an estimate: microseconds of one core, within a factor of three. */
  cost(sizes: FusionSizes): number;
  /** The exact form, for examples over at most this many classes. */
  create(mostClasses: number): Fuse;
  /** The fast form; without one, the exact form is used: see {@link createFuseInPlace}. */
  createFast?(options: FastFormOptions): FuseInPlace;
  /**
   * The rule as nodes of an ONNX graph, in standard operators and without a loop; without it, an ensemble of this rule
   * cannot be exported.
   *
   * @param q (batch, classes + 1), the generalist's at its temperature; the last column takes what only fills subsets up
   * @param parameters that are per ensemble
   * @returns the same, fused
   */
  writeGraph?(graph: GraphWriter, q: string, queried: Queried, parameters: ParameterValues): string;
}

/** The value of a parameter, neutral where none was chosen. */
export function parameterValue(
  { name, neutral }: RuleParameter,
  values: ParameterValues | undefined,
): number {
  return values?.[name] ?? neutral;
}

/** The fast form of any rule: its own, or the exact one over softmaxes, whose result is rounded. */
export function createFuseInPlace(rule: FusionRule, options: FastFormOptions): FuseInPlace {
  return rule.createFast?.(options) ?? exactInPlace(rule, options);
}

function exactInPlace(rule: FusionRule, { classCount, parameters }: FastFormOptions): FuseInPlace {
  const fuse = rule.create(classCount);
  const generalist = new Float64Array(classCount);
  const out = new Float64Array(classCount);
  return (q, specialists) => {
    for (let c = 0; c < classCount; c++) generalist[c] = q[c] === 0 ? smallestSoftmax : q[c];
    const predictions = specialists.map(({ classes, logits, temperature, weight, parameters }) => ({
      classes,
      probabilities: softmax(logits, { temperature }),
      weight,
      parameters,
    }));
    q.set(fuse(generalist, predictions, { parameters, out }));
  };
}
