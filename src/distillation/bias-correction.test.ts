import fc from 'fast-check';
import { expect, test } from 'vitest';
import { biasExample, countCorrect, fitUnseenBias } from './bias-correction.js';

const logit = fc.integer({ min: -20, max: 20 }).map((value) => value / 4);
const example = fc
  .tuple(fc.integer({ min: 0, max: 4 }), fc.array(logit, { minLength: 5, maxLength: 5 }))
  .map(([label, logits]) => biasExample(label, logits, Uint8Array.of(0, 0, 0, 1, 1)));

test('no offset gets more examples right than the one that is found', () => {
  fc.assert(
    fc.property(fc.array(example, { minLength: 1, maxLength: 40 }), (examples) => {
      const fit = fitUnseenBias(examples);
      expect(countCorrect(examples, fit.offset)).toBe(fit.correct);
      expect(fit.correctBefore).toBe(countCorrect(examples, 0));
      // Every offset that can make a difference: halfway between two quarters, on both sides of all logits.
      for (let offset = -12.125; offset < 12.2; offset += 0.25)
        expect(countCorrect(examples, offset)).toBeLessThanOrEqual(fit.correct);
    }),
  );
});

test('a student that never says an unseen class is made to say it', () => {
  const isUnseen = Uint8Array.of(0, 0, 1);
  const examples = [
    biasExample(2, [3, 0, 1], isUnseen),
    biasExample(2, [0, 4, 1.5], isUnseen),
    biasExample(0, [6, 0, -2], isUnseen),
  ];
  const { offset, correct, correctBefore } = fitUnseenBias(examples);
  expect(correctBefore).toBe(1);
  expect(correct).toBe(3);
  expect(offset).toBeGreaterThan(2.5);
  expect(offset).toBeLessThan(8);
});

test('nothing is changed where nothing is gained', () => {
  const isUnseen = Uint8Array.of(0, 1);
  expect(fitUnseenBias([biasExample(0, [1, 0], isUnseen), biasExample(1, [0, 1], isUnseen)]).offset).toBe(0);
});
