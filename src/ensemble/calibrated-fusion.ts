import type { Calibration, SpecialistCalibration } from './calibration.js';
import type { Probabilities } from './fusion-input.js';
import { createRule } from './fusion-rules.js';
import { smallestSoftmax, temper } from './temperature.js';

/** A specialist's answer at temperature 1, after its dustbin correction. */
export interface UncalibratedAnswer {
  /** The specialist's id. */
  readonly id: number;
  /** (s), its subset. */
  readonly classes: Int32Array;
  /** (s + 1), the dustbin last. */
  readonly probabilities: Probabilities;
}

/** The part of a calibration that inference needs. */
export type FusionSettings = Pick<Calibration, 'rule' | 'generalistTemperature'> & {
  readonly specialists: readonly Pick<SpecialistCalibration, 'id' | 'temperature' | 'weight' | 'kept'>[];
};

/** What {@link createCalibratedFuser} returns. */
export type CalibratedFuser = (
  generalist: Probabilities,
  answers: readonly UncalibratedAnswer[],
) => Float64Array;

/**
 * Returns the fusion that a calibration chose: its rule, temperatures, weights, and kept specialists.
 *
 * @param calibration from `calibrate`
 * @param classCount the number of classes
 * @returns a function of the generalist's softmax (classes), at temperature 1, and the active specialists'
 *   answers, in any order; it ignores those that were not kept, and returns q of shape (classes)
 * @throws KdSpecError `fusion-input`, when called, as `fuse` does; a softmax that underflowed to zero is taken
 *   as {@link smallestSoftmax}
 */
export function createCalibratedFuser(calibration: FusionSettings, classCount: number): CalibratedFuser {
  const combine = createRule(calibration.rule, classCount);
  const kept = new Map(calibration.specialists.filter(({ kept }) => kept).map((entry) => [entry.id, entry]));
  return (generalist, answers) => {
    const raised = Float64Array.from(generalist, (p) => (p === 0 ? smallestSoftmax : p));
    const calibrated = answers.flatMap(({ id, classes, probabilities }) => {
      const entry = kept.get(id);
      if (entry === undefined) return [];
      return [{ classes, probabilities: temper(probabilities, entry.temperature), weight: entry.weight }];
    });
    return combine(temper(raised, calibration.generalistTemperature), calibrated);
  };
}
