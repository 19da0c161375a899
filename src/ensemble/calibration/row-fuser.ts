import { combineLogits } from '../fusion/combine-logits.js';
import { notAProbability } from '../fusion/fusion-input.js';
import { createCalibratedFuser, type FusionSettings } from './calibrated-fusion.js';

/** What a specialist that takes part says about an image. */
export interface HeardAnswer {
  /** Its position. */
  readonly specialist: number;
  /** (s + 1), the dustbin last, its correction added. */
  readonly logits: Float32Array;
}

/** Fuses many images in place, with the working memory of one. */
export interface RowFuser {
  /** Whether the dustbin's logit, and so its correction, makes a difference. */
  readonly hearsDustbin: boolean;
  /**
   * @param q (classes), the generalist's softmax at its temperature; becomes the fused distribution
   * @throws KdSpecError `fusion-input` when an output of a network is not a number
   */
  fuse(q: Float32Array, answers: readonly HeardAnswer[]): void;
}

/**
 * The fusion that a calibration chose, in single precision and in place.
 *
 * Of a network's outputs it checks that they are numbers: one that is not spoils every value of its softmax, so that
 * a look at one of them is enough.
 *
 * @param subsets the classes of each specialist, by position
 */
export function createRowFuser(
  settings: FusionSettings,
  subsets: readonly Int32Array[],
  classCount: number,
): RowFuser {
  const { rule, dustbinTrust = 0, specialists } = settings;
  const check = (value: number, owner: string) => {
    if (Number.isNaN(value)) throw notAProbability(owner, 0, value);
  };
  if (rule === 'combine') {
    const room = new Float64Array(subsets.reduce((most, { length }) => Math.max(most, length), 0));
    return {
      hearsDustbin: dustbinTrust > 0,
      fuse(q, answers) {
        check(q[0], 'the generalist');
        if (answers.length === 0) return;
        const spoken = answers.map(({ specialist, logits }) => {
          const { temperature, weight } = specialists[specialist];
          return { classes: subsets[specialist], logits, temperature, weight };
        });
        combineLogits(q, spoken, { dustbinTrust, room });
        for (const { specialist } of answers) check(q[subsets[specialist][0]], `specialist ${specialist}`);
      },
    };
  }
  const fuse = createCalibratedFuser(settings, classCount);
  const out = new Float64Array(classCount);
  return {
    hearsDustbin: rule === 'paper',
    fuse(q, answers) {
      check(q[0], 'the generalist');
      if (answers.length === 0) return;
      const spoken = answers.map(({ specialist, logits }) => ({
        id: specialists[specialist].id,
        classes: subsets[specialist],
        logits,
      }));
      q.set(fuse(q, spoken, { out }));
    },
  };
}
