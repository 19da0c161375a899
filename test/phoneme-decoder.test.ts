import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  decodePhonemes,
  phonemeErrors,
  phonemeModel,
  spokenPhonemes,
} from '../scripts/results/distillation/phoneme-decoder.js';
import { frameStates, tieStates } from '../src/data/speech/phoneme-states.js';
import type { Utterance } from '../src/data/speech/speech-source.js';

const rate = 22_050;
const frame = rate / 100;
const names = ['_', 'a', 'k', 's'];

/** A sentence in which every phoneme lasts as many frames as said. */
function utteranceOf(
  spoken: readonly (readonly [string, number])[],
  classOf: (state: never) => number,
): Utterance {
  let at = 0;
  const phonemes = spoken.map(([name, length]) => {
    const start = at;
    at += length * frame;
    return [name, start] as const;
  });
  const frames = Math.round(at / frame);
  const states = frameStates(phonemes, at, rate, frames);
  return {
    voice: 'test',
    frames: new Uint8Array(40 * frames),
    labels: Int32Array.from(states, (state) => classOf(state as never)),
    phonemes: states.map(({ phoneme }) => phoneme),
  };
}

const sentence = fc
  .array(fc.tuple(fc.constantFrom(...names), fc.integer({ min: 3, max: 9 })), { minLength: 2, maxLength: 12 })
  .map((all) => all.filter(([name], index) => index === 0 || name !== all[index - 1][0]));

test('probabilities of one for the true states decode into the phonemes that were spoken', () => {
  fc.assert(
    fc.property(sentence, (spoken) => {
      const training = names.flatMap((name, index) => [
        [name, 6] as const,
        [names[(index + 1) % names.length], 6] as const,
      ]);
      const raw = utteranceOf(training, () => 0);
      const states = frameStates(
        training.map(([name], index) => [name, 6 * index * frame] as const),
        6 * training.length * frame,
        rate,
        raw.labels.length,
      );
      const classes = tieStates(states, 12);
      const model = phonemeModel(classes, [utteranceOf(training, classes.classOf as never)]);
      const said = utteranceOf(spoken, classes.classOf as never);
      const count = classes.names.length;
      const probabilities = new Float32Array(said.labels.length * count);
      for (const [t, label] of said.labels.entries()) probabilities[t * count + label] = 1;
      const heard = decodePhonemes(probabilities, model, 1);
      expect(heard).toEqual(spokenPhonemes(said, classes));
      expect(phonemeErrors(spokenPhonemes(said, classes), heard).errors).toBe(0);
    }),
  );
});

test('errors are counted as an edit distance, without pauses', () => {
  expect(phonemeErrors(['_', 'k', 'a', 's', '_'], ['k', 'a', 's'])).toEqual({ errors: 0, phonemes: 3 });
  expect(phonemeErrors(['k', 'a', 's'], ['k', 's'])).toEqual({ errors: 1, phonemes: 3 });
  expect(phonemeErrors(['k', 'a', 's'], ['a', 's', 's', 'a'])).toEqual({ errors: 3, phonemes: 3 });
  expect(phonemeErrors(['k'], [])).toEqual({ errors: 1, phonemes: 1 });
});
