import type { StateClasses } from '../../../src/data/speech/phoneme-states.js';
import { silence } from '../../../src/data/speech/phoneme-states.js';
import type { Utterance } from '../../../src/data/speech/speech-source.js';

/** Phonemes and what is known of their order. */
export interface PhonemeModel {
  readonly phonemes: readonly string[];
  /** (classes), the place `3 * phoneme + position` of each class. */
  readonly placeOf: Int32Array;
  /** (3 * phonemes), logarithms of the shares of training frames. */
  readonly logPriors: Float64Array;
  /** (phonemes, phonemes), log-probability that the second follows the first. */
  readonly bigrams: Float64Array;
}

/** Counts priors and bigrams in the training sentences; one is added to every count. */
export function phonemeModel(classes: StateClasses, training: readonly Utterance[]): PhonemeModel {
  const phonemes = [...new Set(classes.phonemes)].toSorted();
  const indexOf = new Map(phonemes.map((name, index) => [name, index]));
  const at = (name: string) => indexOf.get(name) ?? 0;
  const placeOf = Int32Array.from(classes.phonemes, (name, label) => 3 * at(name) + classes.positions[label]);
  const frames = new Float64Array(3 * phonemes.length).fill(1);
  const follows = new Float64Array(phonemes.length ** 2).fill(1);
  for (const utterance of training) {
    for (const label of utterance.labels) frames[placeOf[label]]++;
    const spoken = spokenPhonemes(utterance, classes);
    for (let n = 1; n < spoken.length; n++) follows[at(spoken[n - 1]) * phonemes.length + at(spoken[n])]++;
  }
  const total = frames.reduce((sum, count) => sum + count, 0);
  const bigrams = follows.map((count, index) => {
    const start = index - (index % phonemes.length);
    const row = follows.subarray(start, start + phonemes.length);
    return Math.log(count / row.reduce((sum, value) => sum + value, 0));
  });
  return { phonemes, placeOf, logPriors: frames.map((count) => Math.log(count / total)), bigrams };
}

/** The phonemes of a sentence in their order, those of at least one frame: a new one begins where thirds start again. */
export function spokenPhonemes({ phonemes, labels }: Utterance, { positions }: StateClasses): string[] {
  return phonemes.filter(
    (name, t) => t === 0 || name !== phonemes[t - 1] || positions[labels[t]] < positions[labels[t - 1]],
  );
}

/**
 * The most probable phonemes of a sentence: Viterbi over three states a phoneme, which may be entered and left anywhere
 * but never gone back in, with likelihoods `p(state | frame) / p(state)` and bigrams between phonemes.
 *
 * @param probabilities (frames, classes)
 * @param languageWeight of the bigrams' log-probabilities against those of the frames
 */
export function decodePhonemes(
  probabilities: Float32Array,
  { phonemes, placeOf, logPriors, bigrams }: PhonemeModel,
  languageWeight: number,
): string[] {
  const classes = placeOf.length;
  const count = phonemes.length;
  const frames = probabilities.length / classes;
  const entered = 1 << 20; // flag of a place that was reached from another phoneme
  const from = new Int32Array(frames * 3 * count);
  let scores = new Float64Array(3 * count);
  for (let t = 0; t < frames; t++) {
    const sums = new Float64Array(3 * count).fill(1e-12);
    for (let label = 0; label < classes; label++) sums[placeOf[label]] += probabilities[t * classes + label];
    const leaving = Array.from({ length: count }, (_, p) =>
      scores[3 * p + 1] > scores[3 * p] ? best(scores, 3 * p + 1, 3 * p + 2) : best(scores, 3 * p, 3 * p + 2),
    );
    const next = new Float64Array(3 * count);
    for (let q = 0; q < count; q++) {
      let source = -1;
      let score = Number.NEGATIVE_INFINITY;
      for (let p = 0; p < count && t > 0; p++) {
        const value = scores[leaving[p]] + languageWeight * bigrams[p * count + q];
        if (value > score) [score, source] = [value, leaving[p]];
      }
      if (t === 0) [score, source] = [0, 0];
      for (let position = 0; position < 3; position++) {
        const place = 3 * q + position;
        let [bestScore, bestSource] = [score, source + entered];
        for (let earlier = 3 * q; earlier <= place && t > 0; earlier++)
          if (scores[earlier] > bestScore) [bestScore, bestSource] = [scores[earlier], earlier];
        next[place] = bestScore + Math.log(sums[place]) - logPriors[place];
        from[t * 3 * count + place] = bestSource;
      }
    }
    scores = next;
  }
  const heard: string[] = [];
  let place = scores.indexOf(Math.max(...scores));
  for (let t = frames - 1; t >= 0; t--) {
    const source = from[t * 3 * count + place];
    if (source >= entered) heard.push(phonemes[Math.floor(place / 3)]);
    place = source % entered;
  }
  return heard.toReversed();
}

const best = (scores: Float64Array, a: number, b: number) => (scores[b] > scores[a] ? b : a);

/** Insertions, deletions and substitutions that make one list of the other; pauses do not count. */
export function phonemeErrors(spoken: readonly string[], heard: readonly string[]) {
  const said = spoken.filter((name) => name !== silence);
  const found = heard.filter((name) => name !== silence);
  let row = Int32Array.from({ length: found.length + 1 }, (_, index) => index);
  for (const [index, name] of said.entries()) {
    const next = new Int32Array(row.length);
    next[0] = index + 1;
    for (let n = 1; n < row.length; n++)
      next[n] = Math.min(row[n] + 1, next[n - 1] + 1, row[n - 1] + (found[n - 1] === name ? 0 : 1));
    row = next;
  }
  return { errors: row[found.length], phonemes: said.length };
}
