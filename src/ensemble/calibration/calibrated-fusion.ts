import { softmax } from '../../math/softmax.js';
import { type Probabilities, smallestSoftmax } from '../rules/distributions.js';
import { fusionRule } from '../rules/index.js';
import type { ParameterValues } from '../rules/rule.js';
import type { Calibration, SpecialistCalibration } from './calibration.js';

/** What an active specialist says, before its temperature. */
export interface UncalibratedAnswer {
  /** The specialist's id. */
  readonly id: number;
  /** (s), its subset. */
  readonly classes: Int32Array;
  /** (s + 1), the dustbin last, its correction added. */
  readonly logits: Float32Array | Float64Array;
}

/** The part of a calibration that inference needs. */
export type FusionSettings = Pick<Calibration, 'rule' | 'generalistTemperature'> & {
  readonly parameters?: ParameterValues;
  readonly specialists: readonly Pick<
    SpecialistCalibration,
    'id' | 'temperature' | 'weight' | 'kept' | 'parameters'
  >[];
};

/** What {@link createCalibratedFuser} returns. */
export type CalibratedFuser = (
  softened: Probabilities,
  answers: readonly UncalibratedAnswer[],
  options?: { readonly out?: Float64Array },
) => Float64Array;

/**
 * Returns the fusion that a calibration chose: its rule, temperatures, weights, and kept specialists.
 *
 * @param calibration from `calibrate`
 * @param classCount the number of classes
 * @returns a function of the generalist's distribution at its temperature (classes) and the active specialists'
 *   answers, in any order; it ignores those that were not kept, and returns q of shape (classes)
 * @throws KdSpecError `fusion-input`, when called, as `fuse` does; a softmax that underflows to zero is taken
 *   as {@link smallestSoftmax}
 *
 * Cost: one softmax of each specialist, at its temperature, and the fusion; for the paper's rule a working array of
 * the classes is kept.
 */
export function createCalibratedFuser(calibration: FusionSettings, classCount: number): CalibratedFuser {
  const { rule, parameters = {}, specialists } = calibration;
  const fuse = fusionRule(rule).create(classCount);
  const kept = new Map(specialists.filter(({ kept }) => kept).map((entry) => [entry.id, entry]));
  const usable = rule === 'paper' ? createFloor(classCount) : (softened: Probabilities) => softened;
  return (softened, answers, options) => {
    const calibrated = answers.flatMap(({ id, classes, logits }) => {
      const entry = kept.get(id);
      if (entry === undefined) return [];
      const { temperature, weight, parameters } = entry;
      return [{ classes, probabilities: softmax(logits, { temperature }), weight, parameters }];
    });
    return fuse(usable(softened), calibrated, { parameters, ...options });
  };
}

/** Copies a distribution into a working array of the classes, and lifts what is zero: the paper's rule needs that. */
function createFloor(classCount: number): (softened: Probabilities) => Float64Array {
  const positive = new Float64Array(classCount);
  return (softened) => {
    for (let c = 0; c < classCount; c++) positive[c] = softened[c] === 0 ? smallestSoftmax : softened[c];
    return positive;
  };
}
