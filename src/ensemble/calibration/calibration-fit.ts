import type { Pause } from '../../core/pause.js';
import { softmax } from '../../math/softmax.js';
import { mostLabelNoise, underLabelNoise } from '../label-noise.js';
import type { SpecialistPrediction } from '../rules/distributions.js';
import {
  type FusionRule,
  type MassBeliefs,
  type MassOfSubset,
  type ParameterValues,
  parameterValue,
  type RuleParameter,
} from '../rules/rule.js';
import {
  type CompactExample,
  type CompactPrediction,
  type Outcome,
  outcome,
  smallestProbability,
  temperedGeneralist,
} from './calibration-example.js';
import { type MinimizeOptions, minimize } from './minimize.js';

const temperatureRange = [0.2, 5] as const;
const leastLabelNoise = 1e-4; // beside none
const weightRange = [1 / 32, 32] as const;
const weightTolerance = 0.025; // relative; the likelihood is flatter in the weight than in a temperature

/** What is fitted. */
export interface CalibrationParameters {
  /** The share of labels that are taken to be any class: see `underLabelNoise`. */
  labelNoise: number;
  generalistTemperature: number;
  /** (specialists) */
  readonly temperatures: number[];
  /** (specialists), beside the generalist's 1. */
  readonly weights: number[];
  /** The rule's parameters that are per ensemble, by name. */
  readonly ofEnsemble: Record<string, number>;
  /** (specialists), the rule's parameters that are per specialist, by name. */
  readonly ofSpecialists: readonly Record<string, number>[];
  /** (specialists), whether each takes part. */
  readonly kept: boolean[];
}

/** An active specialist's prediction at its present temperature, weight and parameters. */
type TemperedPrediction = CompactPrediction &
  SpecialistPrediction & {
    readonly probabilities: Float64Array;
    readonly logarithms: { readonly values: Float64Array; scale: number };
    weight: number;
  };

/** An example at the present temperatures. */
interface TemperedExample {
  readonly example: CompactExample;
  readonly isBystander: boolean;
  /** (n + 1), the bucket last. */
  readonly generalist: Float64Array;
  readonly predictions: readonly TemperedPrediction[];
  /** (n + 1), working memory that all examples share. */
  readonly fused: Float64Array;
  /** What the ensemble makes of it, in a state of the fit. */
  now?: { readonly state: number; readonly outcome: Outcome } | undefined;
}

/** An example on which the parameters of a rule only move mass into the one active subset, or out of it. */
interface MovedExample {
  readonly isBystander: boolean;
  /** On which side of the subset's border its label lies. */
  readonly label: keyof MassOfSubset;
  readonly beliefs: MassBeliefs;
  /** The specialist's, as they are when they are looked at. */
  readonly own: ParameterValues | undefined;
  /** What the mass on that side is multiplied by, for the probability of the label. */
  readonly factor: number;
}

/** A fit in progress, see {@link createCalibrationFit}. */
export type CalibrationFit = Awaited<ReturnType<typeof createCalibrationFit>>;

/**
 * The parameters of an ensemble under one rule, and the searches that fit each of them with the others held.
 *
 * The examples' distributions are kept at the present temperatures, so that a trial of one temperature
 * computes only the distributions that it changes, and a trial of the weight none.
 *
 * @param examples of the validation split
 * @param bystanders images of what no specialist learns; their weight is that of all examples until
 *   `weighBystanders` changes it
 * @param specialistCount the number of specialists, whether they are active on an example or not
 * @param rule how distributions are fused
 * @param pause called for each example that is visited
 *
 * Memory: beside the examples, 8 bytes for each class of an example and of its active subsets.
 */
export async function createCalibrationFit(
  examples: readonly CompactExample[],
  bystanders: readonly CompactExample[],
  specialistCount: number,
  rule: FusionRule,
  pause: Pause,
) {
  const parameters: CalibrationParameters = {
    labelNoise: 0,
    generalistTemperature: 1,
    temperatures: Array.from({ length: specialistCount }, () => 1),
    weights: Array.from({ length: specialistCount }, () => 1),
    ofEnsemble: neutralValues(rule, 'ensemble'),
    ofSpecialists: Array.from({ length: specialistCount }, () => neutralValues(rule, 'specialist')),
    kept: Array.from({ length: specialistCount }, () => true),
  };
  const all = [...examples, ...bystanders];
  const classCount = all.length === 0 ? 1 : all[0].classes.length + all[0].bucketSize;
  const mostClasses = all.reduce((most, { classes }) => Math.max(most, classes.length + 1), 0);
  const fuseExactly = rule.create(mostClasses);
  const memory = new Float64Array(mostClasses);
  const tempered: TemperedExample[] = [];
  for (const [position, example] of all.entries()) {
    const turn = pause();
    if (turn) await turn;
    const isBystander = position >= examples.length;
    tempered.push({ ...atTemperatureOne(example, memory, parameters.ofSpecialists), isBystander });
  }
  const validation = tempered.slice(0, examples.length);
  const others = tempered.slice(examples.length);
  let othersWeight = examples.length / Math.max(1, bystanders.length); // of each, beside 1 of a validation example
  const routed = Array.from({ length: specialistCount }, (): TemperedExample[] => []);
  for (const example of tempered) {
    for (const { specialist } of example.predictions) routed[specialist].push(example);
  }

  let state = 0; // counts changes of parameters other than leaving a specialist out
  const fuse = ({ example, generalist, predictions, fused }: TemperedExample, kept = parameters.kept) => {
    const active = predictions.filter(({ specialist }) => kept[specialist]);
    if (active.length === 0) return generalist;
    for (const prediction of active) prediction.weight = parameters.weights[prediction.specialist];
    const logarithms = { values: example.logGeneralist, scale: 1 / parameters.generalistTemperature };
    return fuseExactly(generalist, active, { parameters: parameters.ofEnsemble, logarithms, out: fused });
  };
  const logLikelihood = (probability: number) =>
    Math.log(Math.max(underLabelNoise(parameters.labelNoise, classCount)(probability), smallestProbability));
  const negativeLogLikelihood = async (on: readonly TemperedExample[]) => {
    let sum = 0;
    let total = 0;
    for (const example of on) {
      const turn = pause();
      if (turn) await turn;
      const weight = example.isBystander ? othersWeight : 1;
      sum -= weight * logLikelihood(fuse(example)[example.example.label]);
      total += weight;
    }
    return sum / total;
  };
  /** The negative log-likelihood while nothing but parameters of the rule change. */
  const likelihoodOfParameters = async (on: readonly TemperedExample[]) => {
    const fused: TemperedExample[] = [];
    const moved: MovedExample[] = [];
    for (const example of on) {
      const turn = pause();
      if (turn) await turn;
      const one = movedExample(example, rule, parameters, outcomeNow);
      if (one) moved.push(one);
      else fused.push(example);
    }
    const weightOf = (isBystander: boolean) => (isBystander ? othersWeight : 1);
    const total = (of: readonly { readonly isBystander: boolean }[]) =>
      of.reduce((sum, { isBystander }) => sum + weightOf(isBystander), 0);
    const [ofMoved, ofFused] = [total(moved), total(fused)];
    return async () => {
      let sum = fused.length === 0 ? 0 : ofFused * (await negativeLogLikelihood(fused));
      for (const { isBystander, label, beliefs, own, factor } of moved) {
        const mass = rule.massOf?.(beliefs, parameters.ofEnsemble, own)[label] ?? 0;
        sum -= weightOf(isBystander) * logLikelihood(factor * mass);
      }
      return sum / (ofMoved + ofFused);
    };
  };
  const search = async (
    on: readonly TemperedExample[],
    set: (value: number) => void | Promise<void>,
    [low, high]: readonly [number, number],
    options: MinimizeOptions,
    likelihood: () => Promise<number> = () => negativeLogLikelihood(on),
  ) => {
    if (on.length === 0) return;
    state++;
    const trial = async (value: number) => {
      await set(value);
      return likelihood();
    };
    await set((await minimize(trial, low, high, options)).x);
  };
  const visit = async <T>(on: readonly TemperedExample[], score: (example: TemperedExample) => T) => {
    const scores: T[] = [];
    for (const example of on) {
      const turn = pause();
      if (turn) await turn;
      scores.push(score(example));
    }
    return scores;
  };

  const isKept = (specialist: number) => parameters.kept[specialist];
  const withKept = () =>
    tempered.filter(({ predictions }) => predictions.some((one) => isKept(one.specialist)));
  /** Where at least one of some specialists is active. */
  const routedTo = (specialists: readonly number[]) => {
    if (specialists.length === 1) return routed[specialists[0]];
    const any = new Set(specialists);
    return tempered.filter(({ predictions }) => predictions.some(({ specialist }) => any.has(specialist)));
  };
  const setGeneralistTemperature = async (temperature: number) => {
    parameters.generalistTemperature = temperature;
    for (const { example, generalist } of tempered) {
      const turn = pause();
      if (turn) await turn;
      temperedGeneralist(example, temperature, generalist);
    }
  };
  const setTemperature = (specialists: readonly number[]) => {
    const any = new Set(specialists);
    const own = routedTo(specialists).flatMap(({ predictions }) =>
      predictions.filter(({ specialist }) => any.has(specialist)),
    );
    return async (temperature: number) => {
      for (const specialist of specialists) parameters.temperatures[specialist] = temperature;
      for (const { probabilities, logarithms } of own) {
        const turn = pause();
        if (turn) await turn;
        softmax(logarithms.values, { temperature, out: probabilities });
        logarithms.scale = 1 / temperature;
      }
    };
  };
  const outcomeOf = (example: TemperedExample, kept = parameters.kept) =>
    outcome(fuse(example, kept), example.example, parameters.labelNoise);
  /** The outcome with the specialists that are kept, computed once until one of these or a parameter changes. */
  const outcomeNow = (example: TemperedExample) => {
    if (example.now?.state !== state) example.now = { state, outcome: outcomeOf(example) };
    return example.now.outcome;
  };

  return {
    parameters: parameters as Readonly<CalibrationParameters>,

    /** Takes over the parameters that were fitted on other examples. */
    async adopt(other: Readonly<CalibrationParameters>): Promise<void> {
      state++;
      parameters.labelNoise = other.labelNoise;
      await setGeneralistTemperature(other.generalistTemperature);
      for (let m = 0; m < specialistCount; m++) {
        await setTemperature([m])(other.temperatures[m]);
        parameters.weights[m] = other.weights[m];
        parameters.kept[m] = other.kept[m];
        Object.assign(parameters.ofSpecialists[m], other.ofSpecialists[m]);
      }
      Object.assign(parameters.ofEnsemble, other.ofEnsemble);
    },

    /**
     * The share of noise under which the labels of validation are most likely; a convex problem, of which the fused
     * distributions are all. Bystanders without a label have what was predicted, which is never noise.
     */
    async fitLabelNoise(): Promise<void> {
      const probabilities = await visit(validation, (example) => fuse(example)[example.example.label]);
      const likelihood = async () => -probabilities.reduce((sum, p) => sum + logLikelihood(p), 0);
      const set = (share: number) => {
        parameters.labelNoise = share;
      };
      const options = { tolerance: 0.05, start: 0 }; // none is tried in any case
      await search(validation, set, [leastLabelNoise, mostLabelNoise], options, likelihood);
    },

    fitGeneralistTemperature(): Promise<void> {
      return search(tempered, setGeneralistTemperature, temperatureRange, {
        start: parameters.generalistTemperature,
      });
    },

    /** One temperature for those of some specialists that are kept, on the examples where one of them is active. */
    async fitTemperature(specialists: readonly number[]): Promise<void> {
      const kept = specialists.filter(isKept);
      if (kept.length === 0) return;
      await search(routedTo(kept), setTemperature(kept), temperatureRange, {
        start: parameters.temperatures[kept[0]],
      });
    },

    /** The weight of one specialist, where it is active, or the one weight of all where a kept one is. */
    async fitWeight(specialist?: number): Promise<void> {
      if (specialist !== undefined && !isKept(specialist)) return;
      const set = (weight: number) => {
        if (specialist === undefined) parameters.weights.fill(weight);
        else parameters.weights[specialist] = weight;
      };
      const on = specialist === undefined ? withKept() : routed[specialist];
      const start = parameters.weights[specialist ?? 0] ?? 1;
      await search(on, set, weightRange, { start, tolerance: weightTolerance });
    },

    /**
     * A parameter of the rule: one value for those of some specialists that are kept, on the examples where one of them
     * is active, or that of the ensemble, where a kept specialist is active.
     */
    async fitParameter(parameter: RuleParameter, specialists?: readonly number[]): Promise<void> {
      const kept = specialists?.filter(isKept);
      if (kept?.length === 0) return;
      const { name, range, scale, tolerance } = parameter;
      const values = kept ? kept.map((m) => parameters.ofSpecialists[m]) : [parameters.ofEnsemble];
      const set = (value: number) => {
        for (const one of values) one[name] = value;
      };
      const start = parameterValue(parameter, values[0]);
      const on = kept ? routedTo(kept) : withKept();
      await search(on, set, range, { scale, tolerance, start }, await likelihoodOfParameters(on));
    },

    leaveOut(specialist: number): void {
      parameters.kept[specialist] = false;
      for (const example of routed[specialist]) example.now = undefined;
    },

    /** How much all bystanders together count in a fit, beside 1 of all validation examples together. */
    weighBystanders(weight: number): void {
      othersWeight = (weight * validation.length) / Math.max(1, others.length);
    },

    /** What the ensemble makes of every validation example. */
    outcomes(): Promise<readonly Outcome[]> {
      return visit(validation, outcomeNow);
    },

    /** Whether the generalist, or the model that harm is measured against, and the ensemble are right about each bystander. */
    bystanderOutcomes(): Promise<readonly { readonly before: 0 | 1; readonly after: 0 | 1 }[]> {
      return visit(others, (example) => ({
        before: example.example.before ?? outcome(example.generalist, example.example).correct,
        after: outcomeNow(example).correct,
      }));
    },

    /** The validation outcomes with and without a specialist beside the others that are kept, where it is active. */
    outcomesWithAndWithout(specialist: number): Promise<readonly (readonly [Outcome, Outcome])[]> {
      const other = parameters.kept.with(specialist, !isKept(specialist));
      const own = routed[specialist].filter(({ isBystander }) => !isBystander);
      return visit(own, (example) => {
        const now = outcomeNow(example);
        const then = outcomeOf(example, other);
        return isKept(specialist) ? [now, then] : [then, now];
      });
    },
  };
}

function neutralValues(rule: FusionRule, per: RuleParameter['per']): Record<string, number> {
  const own = rule.parameters.filter((parameter) => parameter.per === per);
  return Object.fromEntries(own.map(({ name, neutral }) => [name, neutral]));
}

/** @param ofSpecialists (specialists), whose values the predictions share */
function atTemperatureOne(
  example: CompactExample,
  memory: Float64Array,
  ofSpecialists: readonly Record<string, number>[],
): Omit<TemperedExample, 'isBystander' | 'now'> {
  return {
    example,
    generalist: temperedGeneralist(example, 1),
    predictions: example.predictions.map((prediction) => ({
      ...prediction,
      probabilities: softmax(prediction.logProbabilities),
      logarithms: { values: prediction.logProbabilities, scale: 1 },
      weight: 1,
      parameters: ofSpecialists[prediction.specialist],
    })),
    fused: memory.subarray(0, example.classes.length + 1),
  };
}

/**
 * An example of which the fused distribution tells what it would be under other parameters of the rule.
 *
 * @param outcomeNow under the present ones
 * @returns undefined where the rule cannot tell, several specialists are active, one side has no mass, or the label's
 *   probability is cut off
 */
function movedExample(
  tempered: TemperedExample,
  { massOf }: FusionRule,
  { kept, ofEnsemble }: Readonly<CalibrationParameters>,
  outcomeNow: (example: TemperedExample) => Outcome,
): MovedExample | undefined {
  const { example, generalist, predictions, isBystander } = tempered;
  const active = predictions.filter(({ specialist }) => kept[specialist]);
  if (massOf === undefined || active.length !== 1) return undefined;
  const [{ classes, probabilities, parameters: own }] = active;
  const isInside = new Uint8Array(generalist.length);
  for (const c of classes) isInside[c] = 1;
  const sums = [0, 0]; // outside and inside: the difference of one to 1 would be rounding where the other is nearly all
  for (let c = 0; c < generalist.length; c++) sums[isInside[c]] += generalist[c];
  const inside = sums[1] / (sums[0] + sums[1]);
  const dustbin = probabilities[classes.length];
  let named = 0;
  for (let i = 0; i < classes.length; i++) named += probabilities[i];
  const beliefs = { inside, named, dustbin };
  const label = isInside[example.label] === 1 ? 'inside' : 'outside';
  const mass = massOf(beliefs, ofEnsemble, own)[label];
  const { probability } = outcomeNow(tempered);
  if (!(sums[0] > 0 && inside > 0 && named > 0 && mass > 0 && probability > smallestProbability))
    return undefined;
  return { isBystander, label, beliefs, own, factor: probability / mass };
}
