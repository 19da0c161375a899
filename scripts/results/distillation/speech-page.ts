import { type Distilled, within } from '../recorded-runs.js';
import { typedFlags } from './idx-runs.js';

type Setting = 'members' | 'classes' | 'sentences' | 'epochs' | 'seed' | 'student-seeds' | 'backend';

/** What a network, or the mean of several, does on the test. */
export interface Heard {
  /** Of frames. */
  readonly accuracy: number;
  /** Errors of the decoder over phonemes that were spoken. */
  readonly phonemeErrorRate: number;
}

export interface SpeechResult {
  readonly settings: Readonly<Record<Setting, string>>;
  readonly corpus: {
    readonly classes: number;
    readonly trainingFrames: number;
    readonly testFrames: number;
    readonly testPhonemes: number;
  };
  /** Chosen on validation with the first network. */
  readonly languageWeight: number;
  readonly members: readonly Heard[];
  readonly averaged: Heard;
  /** A student for each seed. */
  readonly distilled: readonly (Heard & { readonly run: Distilled })[];
  /** The same without a teacher, for as long. */
  readonly alone: readonly (Heard & { readonly run: Distilled })[];
}

/** The page of section 4 on speech. */
export function renderSpeechPage(result: SpeechResult): string {
  const { settings, corpus, members, averaged, distilled, alone, languageWeight } = result;
  const percents = (all: readonly Heard[], what: keyof Heard) => `${within(all.map((h) => 100 * h[what]))}%`;
  const mean = (what: keyof Heard) => members.reduce((sum, h) => sum + h[what], 0) / members.length;
  const kept = (all: readonly Heard[], what: keyof Heard) =>
    `${within(all.map((h) => (100 * (h[what] - mean(what))) / (averaged[what] - mean(what))))}%`;
  const row = (label: string, all: readonly Heard[], share: boolean, paper: string) =>
    `| ${label} | ${percents(all, 'accuracy')} | ${share ? kept(all, 'accuracy') : ''} | ${percents(all, 'phonemeErrorRate')} | ${share ? kept(all, 'phonemeErrorRate') : ''} | ${paper} |`;
  const n = (count: number) => count.toLocaleString('en');
  return `# Many models distilled into one (section 4): speech

${n(corpus.trainingFrames)} frames of speech by espeak-ng, labelled with ${n(corpus.classes)} tied phoneme states; ${n(corpus.testFrames)} test frames by other voices that say other sentences (\`datasets/speech/README.md\`). ${members.length} networks of ${n(distilled[0].run.parameters)} parameters that differ by their seed, on data of seed ${settings.seed}; ± is the standard deviation between them, and between students of seeds ${settings['student-seeds'].split(',').join(', ')}. Students have the size of one network and learn for twice its ${settings.epochs} epochs; one learns from the mean of the networks and the labels (weight 0.5), one from labels alone.

| | frame accuracy | share of the gain | phoneme error rate | share of the gain | the paper: frames, words wrong |
| --- | ---: | ---: | ---: | ---: | --- |
${row('one network', members, false, '58.9%, 10.9%')}
${row(`the ${members.length}, predictions averaged`, [averaged], true, '61.1%, 10.7%')}
${row('one student distilled from them', distilled, true, '60.8% (a share of 86%), 10.7%')}
${row('the same student, labels alone', alone, true, '')}

T chosen on validation: ${distilled.map(({ run }) => run.chosen.temperature).join(', ')}. Phonemes are decoded by Viterbi over three states a phoneme, with bigrams of the training sentences at weight ${languageWeight}, chosen on validation with the first network; the rate is over ${n(corpus.testPhonemes)} phonemes, pauses apart.

Remake it, with every figure in \`distil-speech.json\` (it needs \`apt-get install espeak-ng python3\`):

    npm run build && npx tsx scripts/results/distil-speech.ts ${typedFlags(settings)}

The pipeline is \`pipelines/distil-speech.yaml\`.
`;
}
