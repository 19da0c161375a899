import { z } from 'zod';
import { lastStepOf, type Schedule } from './schedule.js';

/** When a training ends before its last epoch, and which of its weights are kept. */
export interface EarlyStopping {
  /** Checks in a row without a better validation loss, after which the training comes to its end. */
  readonly patience: number;
  /** Steps between two checks, where an epoch is longer; a check ends every epoch, too. */
  readonly stepsPerCheck: number;
}

/** What the checks of a training found so far; part of every checkpoint, so that a resumed training ends alike. */
export const validationCourseSchema = z.strictObject({
  /** The check with the lowest loss: its checkpoint is kept. */
  best: z.strictObject({ step: z.int().positive(), loss: z.number() }),
  checksSinceBest: z.int().nonnegative(),
  /** Step at which the loss was found to stand still and, under the schedule `plateau`, the rate began to fall. */
  decayFrom: z.int().positive().exactOptional(),
});
export type ValidationCourse = z.infer<typeof validationCourseSchema>;

/**
 * The course after one more check.
 *
 * @param loss on validation, in nats, at the temperature at which it is least: a network that has grown too sure of
 *   itself may still get better, and a temperature is fitted to it anyway
 * @param step steps done
 */
export function afterCheck(
  course: ValidationCourse | undefined,
  { step, loss }: { readonly step: number; readonly loss: number },
  { patience }: EarlyStopping,
): ValidationCourse {
  if (course === undefined) return { best: { step, loss }, checksSinceBest: 0 };
  if (loss < course.best.loss) return { ...course, best: { step, loss }, checksSinceBest: 0 };
  const checksSinceBest = course.checksSinceBest + 1;
  const isStanding = course.decayFrom === undefined && checksSinceBest >= patience;
  return { ...course, checksSinceBest, ...(isStanding && { decayFrom: step }) };
}

/**
 * The schedule as the course has bent it: under `plateau` the rate falls from where validation stood still; under
 * the others the training ends there.
 */
export function bentSchedule(schedule: Schedule, course: ValidationCourse | undefined): Schedule {
  if (course?.decayFrom === undefined) return schedule;
  return { ...schedule, decayFrom: course.decayFrom };
}

/** Whether a training is over: its schedule has ended, or validation stands still and nothing is left to fall. */
export function isOver(step: number, schedule: Schedule, course: ValidationCourse | undefined): boolean {
  const isStanding = course?.decayFrom !== undefined && schedule.kind !== 'plateau';
  return isStanding || step >= lastStepOf(bentSchedule(schedule, course));
}
