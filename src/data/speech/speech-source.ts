import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { type Log, silentLog } from '../../core/log.js';
import { packageFolder } from '../../core/package.js';
import { createRandom, type Random } from '../../core/random.js';
import { type Importer, withoutNull } from '../importers/importer.js';
import { type DatasetSource, type LabelledImage, type SplitName, splitNames } from '../source.js';
import { channels, frameCount, logMelEnergies } from './mel-filter-bank.js';
import { frameStates, type State, type StateClasses, tieStates } from './phoneme-states.js';
import { type Sentence, speak } from './speak.js';
import { language, noiseDecibels, pitches, speeds, voices } from './voices.js';

export interface SpeechOptions {
  /** Largest number of classes: tied thirds of phonemes in context. */
  readonly classes?: number;
  /** Sentences that each voice speaks, from 1; a held-out voice has only 13 to speak. */
  readonly sentences?: number;
  /** Whole; draws sentences, speeds, pitches, noise and the order. */
  readonly seed?: number;
  /** The interpreter that calls espeak-ng's library. */
  readonly python?: string;
  readonly log?: Log;
}

/** A spoken sentence as the network sees it. */
export interface Utterance {
  readonly voice: string;
  /** (frames, 40), 0 to 255. */
  readonly frames: Uint8Array;
  /** (frames), the class of each. */
  readonly labels: Int32Array;
  /** (frames), the phoneme of each. */
  readonly phonemes: readonly string[];
}

export interface SpokenCorpus {
  readonly classes: StateClasses;
  readonly utterances: Readonly<Record<SplitName, readonly Utterance[]>>;
}

/** Frames of a window, and the one whose state is to be told: the paper's, section 4. */
export const windowFrames = 26;
const labelledFrame = 20; // the 21st

/**
 * Windows of speech, labelled with tied context-dependent thirds of phonemes: what section 4 of the paper does, with
 * a synthesizer for speakers. Neither voices nor sentences of validation and test occur in training.
 *
 * @returns grey images of 40 mel channels by 26 frames, deep channels on top
 * @throws KdSpecError `option-invalid`, `speech-failed`
 * Cost: holds all frames (40 bytes each); a hundredth of the time that the sentences take to say.
 * Source: Hinton, Vinyals and Dean (2015), section 4; the data are ours.
 *
 * @example
 * const source = await speechSource({ classes: 1000, sentences: 2 });
 * source.image; // { height: 40, width: 26, channels: 1 }
 */
export async function speechSource(options: SpeechOptions = {}): Promise<DatasetSource> {
  const { seed = 1 } = options;
  const { classes, utterances } = await speakCorpus(options);
  const count = (split: SplitName) => utterances[split].reduce((sum, { labels }) => sum + labels.length, 0);

  async function* images(split: SplitName): AsyncGenerator<LabelledImage> {
    const places = utterances[split].flatMap(({ labels }, utterance) =>
      Array.from(labels, (label, t) => ({ utterance, t, label })),
    );
    for (const { utterance, t, label } of createRandom(seed, 'speech', 'order', split).shuffle(places)) {
      yield { pixels: windowAt(utterances[split][utterance].frames, t), label };
    }
  }

  return {
    description: `${classes.names.length} tied phoneme states of speech by ${voices.train.length} voices (espeak-ng, seed ${seed})`,
    classes: classes.names,
    image: { height: channels, width: windowFrames, channels: 1 },
    augmentation: { kind: 'none' },
    count,
    images,
  };
}

/** The window whose 21st frame is t, (40, 26); beyond the sentence's ends its first or last frame stands. */
export function windowAt(frames: Uint8Array, t: number): Uint8Array {
  const last = frames.length / channels - 1;
  const pixels = new Uint8Array(channels * windowFrames);
  for (let column = 0; column < windowFrames; column++) {
    const from = Math.min(last, Math.max(0, t + column - labelledFrame)) * channels;
    for (let channel = 0; channel < channels; channel++) {
      pixels[channel * windowFrames + column] = frames[from + channel];
    }
  }
  return pixels;
}

/**
 * The sentences in their order, from which {@link speechSource} cuts windows: for decoders. A sentence with a third of
 * a phoneme that training never has is left out.
 */
export async function speakCorpus({
  classes: limit = 2000,
  sentences = 4,
  seed = 1,
  python,
  log = silentLog,
}: SpeechOptions = {}): Promise<SpokenCorpus> {
  const texts = await readTexts();
  if (!Number.isInteger(sentences) || sentences < 1 || sentences > texts.train.length) {
    throw new KdSpecError(
      'option-invalid',
      `speech: expected from 1 to ${texts.train.length} sentences a voice, not ${sentences}: change it`,
    );
  }
  const plan = splitNames.flatMap((split) =>
    voices[split].flatMap((voice) => {
      const random = createRandom(seed, 'speech', voice);
      const own = random.shuffle([...texts[split]]).slice(0, sentences);
      return own.map((text) => ({ split, sentence: drawSentence(text, voice, random) }));
    }),
  );
  const heard: { split: SplitName; voice: string; frames: Uint8Array; states: State[] }[] = [];
  const bar = log.progress('speak', plan.length);
  const spoken = speak(
    plan.map(({ sentence }) => sentence),
    { ...(python !== undefined && { python }) },
  );
  for await (const { rate, sound, phonemes } of spoken) {
    const { split, sentence } = plan[heard.length];
    addNoise(sound, createRandom(seed, 'speech', 'noise', heard.length));
    const frames = quantise(logMelEnergies(sound, rate));
    const states = frameStates(phonemes, sound.length, rate, frameCount(sound.length, rate));
    heard.push({ split, voice: sentence.voice, frames, states });
    bar.update(heard.length);
  }
  bar.finish();
  const training = heard.filter(({ split }) => split === 'train').flatMap(({ states }) => states);
  const classes = tieStates(training, limit);
  const utterancesOf = (wanted: SplitName): Utterance[] =>
    heard
      .filter(({ split }) => split === wanted)
      .map(({ voice, frames, states }) => ({
        voice,
        frames,
        labels: Int32Array.from(states, classes.classOf),
        phonemes: states.map(({ phoneme }) => phoneme),
      }))
      .filter(({ labels }) => !labels.includes(-1));
  return {
    classes,
    utterances: {
      train: utterancesOf('train'),
      validation: utterancesOf('validation'),
      test: utterancesOf('test'),
    },
  };
}

/** Of ten lines of the text, eight are for training, one for validation, one for the test. */
async function readTexts(): Promise<Record<SplitName, string[]>> {
  const text = await readFile(join(packageFolder(), 'datasets', 'speech', 'text.txt'), 'utf8');
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const of = (fits: (place: number) => boolean) => lines.filter((_, index) => fits(index % 10));
  return {
    train: of((place) => place < 8),
    validation: of((place) => place === 8),
    test: of((place) => place === 9),
  };
}

function drawSentence(text: string, voice: string, random: Random): Sentence {
  const within = ([low, high]: readonly [number, number]) => low + random.below(high - low + 1);
  return { voice: `${language}+${voice}`, speed: within(speeds), pitch: within(pitches), text };
}

/** Adds white noise in place, so many decibels below the sentence as drawn. */
function addNoise(sound: Float32Array, random: Random): void {
  const [low, high] = noiseDecibels;
  const decibels = low + (high - low) * random.uniform();
  const power = sound.reduce((sum, sample) => sum + sample ** 2, 0) / sound.length;
  const deviation = Math.sqrt(power * 10 ** (-decibels / 10));
  for (let n = 0; n < sound.length; n++) sound[n] += deviation * random.normal();
}

/** Each channel less its mean over the sentence, 16 steps a unit (an e-fold), 128 in the middle: (frames, 40). */
function quantise(energies: Float32Array): Uint8Array {
  const frames = energies.length / channels;
  const means = new Float64Array(channels);
  for (const [at, energy] of energies.entries()) means[at % channels] += energy / frames;
  return Uint8Array.from(energies, (energy, at) =>
    Math.max(0, Math.min(255, Math.round(128 + 16 * (energy - means[at % channels])))),
  );
}

/** `--source speech`. */
export const speech: Importer = {
  recognises: async (source) => source === 'speech',
  open: (_, { seed, log, classes, sentences }) =>
    speechSource({ seed, log, ...withoutNull({ classes, sentences }) }),
};
