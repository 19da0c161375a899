import { softmax } from '../../math/softmax.js';
import { smallestSoftmax } from '../fusion/fusion-input.js';
import { createRule } from '../fusion/fusion-rules.js';
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
  readonly dustbinTrust?: number | undefined;
  readonly specialists: readonly Pick<SpecialistCalibration, 'id' | 'temperature' | 'weight' | 'kept'>[];
};

/** What {@link createCalibratedFuser} returns. */
export type CalibratedFuser = (
  generalist: Float32Array | Float64Array,
  answers: readonly UncalibratedAnswer[],
) => Float64Array;

/**
 * Returns the fusion that a calibration chose: its rule, temperatures, weights, and kept specialists.
 *
 * @param calibration from `calibrate`
 * @param classCount the number of classes
 * @returns a function of the generalist's logits (classes) and the active specialists' answers, in any order;
 *   it ignores those that were not kept, and returns q of shape (classes)
 * @throws KdSpecError `fusion-input`, when called, as `fuse` does; a softmax that underflows to zero is taken
 *   as {@link smallestSoftmax}
 *
 * Cost: one softmax of the generalist and of each specialist, at their temperatures, and the fusion; one
 * working array of the classes is kept.
 */
export function createCalibratedFuser(calibration: FusionSettings, classCount: number): CalibratedFuser {
  const { rule, generalistTemperature, dustbinTrust = 0, specialists } = calibration;
  const combine = createRule(rule, classCount);
  const kept = new Map(specialists.filter(({ kept }) => kept).map((entry) => [entry.id, entry]));
  const softened = new Float64Array(classCount); // (classes), the generalist at its temperature
  return (generalist, answers) => {
    softmax(generalist, { temperature: generalistTemperature, out: softened });
    for (let c = 0; c < classCount; c++) if (softened[c] === 0) softened[c] = smallestSoftmax;
    const calibrated = answers.flatMap(({ id, classes, logits }) => {
      const entry = kept.get(id);
      if (entry === undefined) return [];
      const { temperature, weight } = entry;
      return [{ classes, probabilities: softmax(logits, { temperature }), weight }];
    });
    return combine(softened, calibrated, { dustbinTrust });
  };
}
