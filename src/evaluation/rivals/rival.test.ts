import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  candidatesOf,
  chooseNumbers,
  correct,
  emptyLeaders,
  harmBetween,
  lead,
  predictions,
  type Rival,
  type ScoredSet,
  shifts,
} from './rival.js';

const classes = 5;
const isPictured = Uint8Array.of(0, 1, 0, 1, 1);

function setOf(labels: readonly number[]): ScoredSet {
  return {
    features: new Float32Array(labels.length),
    labels: Int32Array.from(labels),
    rows: labels.length,
    width: 1,
    generalist: {
      leaders: emptyLeaders(labels.length),
      outOfPlay: { classes: new Int32Array(), logits: new Float32Array() },
      first: { count: 0, classes: new Int32Array(), logits: new Float32Array() },
    },
  };
}

function leadersOf(scores: readonly (readonly number[])[], pictured = isPictured) {
  const found = emptyLeaders(scores.length);
  const candidates = candidatesOf(pictured.keys(), pictured);
  for (const [row, of] of scores.entries())
    lead(
      found,
      row,
      Float64Array.from(candidates.classes, (label) => of[label]),
      candidates,
    );
  return found;
}

/** The first largest of the scores with the shift added. */
const slowPrediction = (scores: readonly number[], shift: number, pictured: Uint8Array) => {
  const shifted = scores.map((score, c) => score + pictured[c] * shift);
  return shifted.indexOf(Math.max(...shifted));
};

test('the leaders of both sides predict what shifted scores would', () => {
  const score = fc.integer({ min: -12, max: 12 }).map((value) => value / 4); // sums are exact, and ties happen
  const pictured = fc.array(fc.constantFrom(0, 1), { minLength: classes, maxLength: classes });
  fc.assert(
    fc.property(
      fc.array(fc.array(score, { minLength: classes, maxLength: classes }), { minLength: 1, maxLength: 6 }),
      pictured,
      fc.constantFrom(...shifts),
      (scores, marks, shift) => {
        const sides = Uint8Array.from(marks);
        expect([...predictions(leadersOf(scores, sides), shift)]).toEqual(
          scores.map((of) => slowPrediction(of, shift, sides)),
        );
      },
    ),
  );
});

test('candidates that are given lead for the others', () => {
  const found = emptyLeaders(1);
  lead(found, 0, Float64Array.of(1, 3), candidatesOf([2, 0], isPictured));
  expect([found.inside[0], found.outside[0]]).toEqual([-1, 2]);
  expect([...predictions(found, 8)]).toEqual([2]);
});

/** A rival of fixed scores for two sets. */
function rivalOf(scores: ReadonlyMap<ScoredSet, readonly (readonly number[])[]>, ofShifts = shifts): Rival {
  return {
    name: 'fixed',
    what: 'scores',
    variants: [{}],
    shifts: ofShifts,
    cost: { flops: 0, parameters: 0, trainingSeconds: 0, trainingFlops: 0 },
    leaders: async (set) => [leadersOf(scores.get(set) ?? [])],
  };
}

// Class 1 has images and is behind class 0 by 1 nat on half of the validation images, by 3 on the other half; bystanders of
// class 0 are ahead of class 1 by 2 nats (a tenth) or more.
const validation = setOf(Array.from({ length: 100 }, () => 1));
const bystanders = setOf(Array.from({ length: 1000 }, () => 0));
const planted = new Map([
  [validation, Array.from(validation.labels, (_, row) => [row % 2 === 0 ? 1 : 3, 0, -9, -9, -9])],
  [bystanders, Array.from(bystanders.labels, (_, row) => [row % 10 === 0 ? 2 : 7, 0, -9, -9, -9])],
]);
const before = correct(predictions(leadersOf(planted.get(bystanders) ?? []), 0), bystanders);

test('the shift is the least that gains most, and under a bound the least that keeps it', async () => {
  const rival = rivalOf(planted);
  const judged = { set: bystanders, before };
  const strict = await chooseNumbers(rival, validation, judged, [0.005]);
  expect(strict.best.shift).toBe(3.25); // all images right, ties going to class 0
  expect(strict.bounded[0]?.shift).toBe(1.25); // half of them, and no bystander
  const lenient = await chooseNumbers(rival, validation, judged, [0.12]);
  expect(lenient.bounded[0]?.shift).toBe(3.25);
  expect((await chooseNumbers(rival, validation, undefined, [0.005])).bounded).toEqual([undefined]);
});

test('what exceeds the bound in every setting has no choice within it', async () => {
  const { best, bounded } = await chooseNumbers(
    rivalOf(planted, [4]),
    validation,
    { set: bystanders, before },
    [0.05],
  );
  expect({ best: best.shift, bounded }).toEqual({ best: 4, bounded: [undefined] });
});

test('harm is the accuracy lost, with an error above zero where nothing changed', () => {
  expect(harmBetween(Uint8Array.of(1, 1, 0, 1), Uint8Array.of(1, 0, 1, 0)).harm).toBeCloseTo(0.25, 12);
  expect(harmBetween(Uint8Array.of(1, 1), Uint8Array.of(1, 1))).toMatchObject({
    harm: 0,
    standardError: 0.5,
  });
});
