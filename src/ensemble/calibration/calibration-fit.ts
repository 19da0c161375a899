import { softmax } from '../../math/softmax.js';
import type { SpecialistAnswer } from '../fusion/fusion-input.js';
import { createRule, type FusionRule } from '../fusion/fusion-rules.js';
import {
  type CompactAnswer,
  type CompactExample,
  logLikelihood,
  type Outcome,
  outcome,
  temperedGeneralist,
} from './calibration-example.js';
import { minimizeOnLogScale } from './minimize-on-log-scale.js';

const temperatureRange = [0.2, 5] as const;
const weightRange = [1 / 32, 32] as const;
const weightTolerance = 0.025; // relative; the likelihood is flatter in the weight than in a temperature
const trustRange = [1 / 64, 1] as const; // beside 0, from which the search starts
const trustTolerance = 0.05;

/** What is fitted. */
export interface CalibrationParameters {
  generalistTemperature: number;
  /** (specialists) */
  readonly temperatures: number[];
  /** (specialists), beside the generalist's 1. */
  readonly weights: number[];
  /** How far the dustbins are believed, under the rule `combine`. */
  dustbinTrust: number;
  /** (specialists), whether each takes part. */
  readonly kept: boolean[];
}

/** An active specialist's answer at its present temperature and weight. */
type TemperedAnswer = CompactAnswer &
  SpecialistAnswer & {
    readonly probabilities: Float64Array;
    readonly logarithms: { readonly values: Float64Array; scale: number };
    weight: number;
  };

/** An example at the present temperatures. */
interface TemperedExample {
  readonly example: CompactExample;
  /** (n + 1), the bucket last. */
  readonly generalist: Float64Array;
  readonly answers: readonly TemperedAnswer[];
  /** (n + 1), working memory that all examples share. */
  readonly fused: Float64Array;
}

/** A fit in progress, see {@link createCalibrationFit}. */
export type CalibrationFit = ReturnType<typeof createCalibrationFit>;

/**
 * The parameters of an ensemble under one rule, and the searches that fit each of them with the others held.
 *
 * The examples' distributions are kept at the present temperatures, so that a trial of one temperature
 * computes only the distributions that it changes, and a trial of the weight none.
 *
 * @param examples of the validation split
 * @param specialistCount the number of specialists, whether they are active on an example or not
 * @param rule how distributions are combined
 *
 * Memory: beside the examples, 8 bytes for each class of an example and of its active subsets.
 */
export function createCalibrationFit(
  examples: readonly CompactExample[],
  specialistCount: number,
  rule: FusionRule,
) {
  const parameters: CalibrationParameters = {
    generalistTemperature: 1,
    temperatures: Array.from({ length: specialistCount }, () => 1),
    weights: Array.from({ length: specialistCount }, () => 1),
    dustbinTrust: 0,
    kept: Array.from({ length: specialistCount }, () => true),
  };
  const mostClasses = examples.reduce((most, { classes }) => Math.max(most, classes.length + 1), 0);
  const combine = createRule(rule, mostClasses);
  const memory = new Float64Array(mostClasses);
  const tempered = examples.map((example) => atTemperatureOne(example, memory));
  const routed = Array.from({ length: specialistCount }, (): TemperedExample[] => []);
  for (const example of tempered) {
    for (const { specialist } of example.answers) routed[specialist].push(example);
  }

  const fuse = ({ example, generalist, answers, fused }: TemperedExample, kept = parameters.kept) => {
    const speaking = answers.filter(({ specialist }) => kept[specialist]);
    if (speaking.length === 0) return generalist;
    for (const answer of speaking) answer.weight = parameters.weights[answer.specialist];
    const logarithms = { values: example.logGeneralist, scale: 1 / parameters.generalistTemperature };
    return combine(generalist, speaking, { dustbinTrust: parameters.dustbinTrust, logarithms, out: fused });
  };
  const negativeLogLikelihood = (on: readonly TemperedExample[]) => {
    let sum = 0;
    for (const example of on) sum -= logLikelihood(fuse(example), example.example);
    return sum / on.length;
  };
  const search = (
    on: readonly TemperedExample[],
    set: (value: number) => void,
    [low, high]: readonly [number, number],
    options: { readonly start: number; readonly tolerance?: number },
  ) => {
    if (on.length === 0) return;
    const trial = (value: number) => {
      set(value);
      return negativeLogLikelihood(on);
    };
    set(minimizeOnLogScale(trial, low, high, options).x);
  };

  const withKept = () =>
    tempered.filter(({ answers }) => answers.some(({ specialist }) => parameters.kept[specialist]));
  const setGeneralistTemperature = (temperature: number) => {
    parameters.generalistTemperature = temperature;
    for (const { example, generalist } of tempered) temperedGeneralist(example, temperature, generalist);
  };
  const setTemperature = (specialist: number) => {
    const answers = routed[specialist].flatMap((e) => e.answers.filter((a) => a.specialist === specialist));
    return (temperature: number) => {
      parameters.temperatures[specialist] = temperature;
      for (const { probabilities, logarithms } of answers) {
        softmax(logarithms.values, { temperature, out: probabilities });
        logarithms.scale = 1 / temperature;
      }
    };
  };

  return {
    parameters: parameters as Readonly<CalibrationParameters>,

    /** Takes over the parameters that were fitted on other examples. */
    adopt(other: Readonly<CalibrationParameters>): void {
      setGeneralistTemperature(other.generalistTemperature);
      for (let m = 0; m < specialistCount; m++) {
        setTemperature(m)(other.temperatures[m]);
        parameters.weights[m] = other.weights[m];
        parameters.kept[m] = other.kept[m];
      }
      parameters.dustbinTrust = other.dustbinTrust;
    },

    fitGeneralistTemperature(): void {
      search(tempered, setGeneralistTemperature, temperatureRange, {
        start: parameters.generalistTemperature,
      });
    },

    /** The temperature of one specialist, on the examples where it is active. */
    fitTemperature(specialist: number): void {
      search(routed[specialist], setTemperature(specialist), temperatureRange, {
        start: parameters.temperatures[specialist],
      });
    },

    /** The weight of one specialist, where it is active, or the one weight of all where a kept one is. */
    fitWeight(specialist?: number): void {
      const set = (weight: number) => {
        if (specialist === undefined) parameters.weights.fill(weight);
        else parameters.weights[specialist] = weight;
      };
      const on = specialist === undefined ? withKept() : routed[specialist];
      const start = parameters.weights[specialist ?? 0] ?? 1;
      search(on, set, weightRange, { start, tolerance: weightTolerance });
    },

    /** How far the dustbins are believed, where a kept specialist is active. */
    fitDustbinTrust(): void {
      const set = (trust: number) => {
        parameters.dustbinTrust = trust;
      };
      search(withKept(), set, trustRange, { start: parameters.dustbinTrust, tolerance: trustTolerance });
    },

    leaveOut(specialist: number): void {
      parameters.kept[specialist] = false;
    },

    /** What the ensemble makes of every example. */
    outcomes(): readonly Outcome[] {
      return tempered.map((example) => outcome(fuse(example), example.example));
    },

    /** The outcomes with and without a specialist beside the others that are kept, where it is active. */
    outcomesWithAndWithout(specialist: number): readonly (readonly [Outcome, Outcome])[] {
      const withIt = parameters.kept.with(specialist, true);
      const withoutIt = parameters.kept.with(specialist, false);
      return routed[specialist].map((example) => [
        outcome(fuse(example, withIt), example.example),
        outcome(fuse(example, withoutIt), example.example),
      ]);
    },
  };
}

function atTemperatureOne(example: CompactExample, memory: Float64Array): TemperedExample {
  return {
    example,
    generalist: temperedGeneralist(example, 1),
    answers: example.answers.map((answer) => ({
      ...answer,
      probabilities: softmax(answer.logProbabilities),
      logarithms: { values: answer.logProbabilities, scale: 1 },
      weight: 1,
    })),
    fused: memory.subarray(0, example.classes.length + 1),
  };
}
