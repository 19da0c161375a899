import { expect, test } from 'vitest';
import { afterCheck, isOver, type ValidationCourse } from './early-stopping.js';
import type { Schedule } from './schedule.js';

const stopping = { patience: 2, stepsPerCheck: 1000 };
const schedule: Schedule = { kind: 'plateau', learningRate: 0.1, warmupSteps: 0, totalSteps: 1000 };

function courseOf(losses: readonly number[]): ValidationCourse | undefined {
  return losses.reduce<ValidationCourse | undefined>(
    (course, loss, check) => afterCheck(course, { step: 10 * (check + 1), loss }, stopping),
    undefined,
  );
}

test('the best check is remembered, and patience is counted from it', () => {
  expect(courseOf([])).toBeUndefined();
  expect(courseOf([3])).toEqual({ best: { step: 10, loss: 3 }, checksSinceBest: 0 });
  expect(courseOf([3, 2, 2.5])).toEqual({ best: { step: 20, loss: 2 }, checksSinceBest: 1 });
  expect(courseOf([3, 2, 2.5, 1])).toEqual({ best: { step: 40, loss: 1 }, checksSinceBest: 0 });
});

test('an equal loss is no gain', () => {
  expect(courseOf([2, 2, 2])).toEqual({ best: { step: 10, loss: 2 }, checksSinceBest: 2, decayFrom: 30 });
});

test('the rate falls once, from where patience ran out, whatever comes after', () => {
  expect(courseOf([2, 3, 3, 1, 2, 2, 2])).toEqual({
    best: { step: 40, loss: 1 },
    checksSinceBest: 3,
    decayFrom: 30,
  });
});

test('a plateau schedule ends when its rate has fallen, others where validation stood still', () => {
  const course = courseOf([2, ...Array(39).fill(3)]);
  const standing = courseOf([2, 3, 3]);
  expect(isOver(400, schedule, { best: { step: 10, loss: 2 }, checksSinceBest: 0 })).toBe(false);
  expect(isOver(37, schedule, standing)).toBe(false);
  expect(isOver(38, schedule, standing)).toBe(true); // 30 and a quarter of it
  expect(isOver(400, schedule, course)).toBe(true);
  expect(isOver(30, { ...schedule, kind: 'cosine' }, standing)).toBe(true);
  expect(isOver(999, { ...schedule, kind: 'cosine' }, undefined)).toBe(false);
  expect(isOver(1000, { ...schedule, kind: 'cosine' }, undefined)).toBe(true);
});
