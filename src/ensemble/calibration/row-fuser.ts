import type { Operations } from '../../compute/operations.js';
import { notAProbability } from '../rules/distributions.js';
import { fusionRule } from '../rules/index.js';
import { createFuseInPlace } from '../rules/rule.js';
import type { FusionSettings } from './calibrated-fusion.js';

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
  /** Room for the notes of a batch. */
  notes(images: number): Float32Array;
  /** Notes what will be wanted of an image's row when the specialist that is first speaks: now it is in the cache. */
  note(notes: Float32Array, image: number, q: Float32Array, first: number): void;
  /**
   * @param image that was noted if anybody answers
   * @param q (classes), the generalist's softmax at its temperature; becomes the fused distribution
   * @throws KdSpecError `fusion-input` when an output of a network is not a number
   */
  fuse(notes: Float32Array, image: number, q: Float32Array, answers: readonly HeardAnswer[]): void;
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
  operations: Operations,
  settings: FusionSettings,
  subsets: readonly Int32Array[],
  classCount: number,
): RowFuser {
  const { parameters = {}, specialists } = settings;
  const rule = fusionRule(settings.rule);
  const largest = subsets.reduce((most, { length }) => Math.max(most, length), 0);
  const kernel = operations.geometricMean(largest + 1);
  const fuse = createFuseInPlace(rule, { classCount, largestSubset: largest, parameters, kernel });
  const check = (value: number, owner: string) => {
    if (Number.isNaN(value)) throw notAProbability(owner, 0, value);
  };
  return {
    hearsDustbin: rule.usesDustbin(parameters),
    notes: (images) => new Float32Array(images * largest),
    note(notes, image, q, first) {
      const classes = subsets[first];
      for (let i = 0, at = image * largest; i < classes.length; i++, at++) notes[at] = q[classes[i]];
    },
    fuse(notes, image, q, answers) {
      check(q[0], 'the generalist');
      if (answers.length === 0) return;
      const active = answers.map(({ specialist, logits }, turn) => {
        const { temperature, weight, parameters } = specialists[specialist];
        const classes = subsets[specialist];
        const from = image * largest;
        const masses = turn === 0 ? notes.subarray(from, from + classes.length) : undefined;
        return { classes, logits, masses, temperature, weight, parameters };
      });
      fuse(q, active);
      for (const { specialist } of answers) check(q[subsets[specialist][0]], `specialist ${specialist}`);
    },
  };
}
