import fc from 'fast-check';
import { expect, test } from 'vitest';
import { frameStates, type State, tieStates } from './phoneme-states.js';

const rate = 22_050;
const frame = rate / 100;

test('a frame belongs to the third of the phoneme that sounds at its centre', () => {
  const phonemes = [
    ['h', 0],
    ['E', 3 * frame],
    ['l', 3 * frame], // E has no length and is passed over
    ['_:', 6 * frame],
    ['_', 8 * frame], // a pause goes on
  ] as const;
  const states = frameStates(phonemes, 9 * frame, rate, 9);
  expect(states.map(({ phoneme }) => phoneme).join('')).toBe('hhhlll___');
  expect(states.map(({ position }) => position)).toEqual([0, 1, 2, 0, 1, 2, 0, 1, 2]);
  expect(states[1]).toEqual({ left: '_', phoneme: 'h', right: 'l', position: 1 });
  expect(states[4]).toEqual({ left: 'h', phoneme: 'l', right: '_', position: 1 });
});

const phoneme = fc.constantFrom('a', 'b', 'k', '_');
const state: fc.Arbitrary<State> = fc.record({
  left: phoneme,
  phoneme,
  right: phoneme,
  position: fc.constantFrom(0, 1, 2),
});

test('every training state has a class of its own phoneme and third, and there are no more than asked for', () => {
  fc.assert(
    fc.property(
      fc.array(state, { minLength: 1, maxLength: 200 }),
      fc.integer({ min: 12, max: 60 }),
      (states, limit) => {
        const classes = tieStates(states, limit);
        expect(classes.names.length).toBeLessThanOrEqual(limit);
        const used = new Set<number>();
        for (const each of states) {
          const label = classes.classOf(each);
          expect(classes.phonemes[label]).toBe(each.phoneme);
          expect(classes.positions[label]).toBe(each.position);
          used.add(label);
        }
        expect(used.size).toBe(classes.names.length); // none without a frame
      },
    ),
  );
});

test('frequent contexts are classes, rare ones are tied, and what training never has is told', () => {
  const of = (left: string, right: string, position: 0 | 1 | 2): State => ({
    left,
    phoneme: 'a',
    right,
    position,
  });
  const states = [of('b', 'k', 0), of('b', 'k', 0), of('b', 'k', 0), of('k', 'b', 0), of('k', 'k', 0)];
  const { names, classOf } = tieStates(states, 3);
  expect(names).toEqual(['a[1]', 'b-a+k[1]', 'b-a[1]'].filter((name) => names.includes(name)));
  expect(names[classOf(of('b', 'k', 0))]).toBe('b-a+k[1]');
  expect(names[classOf(of('k', 'b', 0))]).toBe('a[1]');
  expect(classOf(of('b', 'k', 1))).toBe(-1);
});
