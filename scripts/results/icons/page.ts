import { percent, percentWithin, signedPercent, signedWithin } from '../../../src/core/percent.js';
import { count, duration } from '../../../src/core/quantity-text.js';
import type { RivalResult, RivalsReport } from '../../../src/evaluation/rivals/compare-rivals.js';
import { meanOf, table } from '../format.js';

/** What `icons.json` holds. */
export interface IconsResult {
  readonly data: {
    readonly iconify: string;
    /** Of sets that draw a class, at least. */
    readonly fewestFamilies: number;
    readonly classes: number;
    readonly images: Readonly<Record<'model' | 'own' | 'test', number>>;
    readonly families: Readonly<Record<'model' | 'own' | 'test', number>>;
  };
  readonly training: Training;
  /** On validation images of the first seed; the best one was taken. */
  readonly variants: readonly Variant[];
  readonly chosen: readonly string[];
  readonly runs: readonly IconsRun[];
}

/** What `training.json` holds: `train.py`. */
export interface Training {
  readonly torch: string;
  readonly torchvision: string;
  readonly images: number;
  readonly epochs: readonly { readonly loss: number; readonly top1: number; readonly seconds: number }[];
}

/** Settings of the specialists, and what validation says of them: each half under what was chosen on the other. */
export interface Variant {
  readonly words: readonly string[];
  readonly rule: string;
  readonly kept: number;
  readonly specialists: number;
  readonly before: number;
  readonly after: number;
  readonly examples: number;
  readonly negativeLogLikelihood: { readonly before: number; readonly after: number };
}

/** A patch under one seed. */
export interface IconsRun {
  readonly seed: number;
  readonly images: { readonly train: number; readonly validation: number };
  readonly patch: {
    readonly before: { readonly top1: number };
    readonly after: { readonly top1: number };
    readonly specialists: number;
    readonly bytes: number;
  };
  readonly rivals: RivalsReport;
  /** Of the whole patch with the comparison, in seconds of all processors. */
  readonly processorSeconds: number;
}

/** Gains over the seeds: their mean, and each with its standard error. */
function gainsRow(name: string, results: readonly RivalResult[]): readonly string[] {
  const gains = results.map(({ best }) => best.gain);
  return [
    name,
    signedPercent(meanOf(gains)),
    ...results.map(({ best }) => signedWithin(best.gain, best.standardError)),
  ];
}

export function renderIcons({ data, training, variants, chosen, runs }: IconsResult): string {
  const [{ rivals: first }] = runs;
  const named = (name: string) =>
    runs.flatMap(({ rivals }) => rivals.rivals.filter((rival) => rival.name === name));
  const meanGain = (name: string) => meanOf(named(name).map(({ best }) => best.gain));
  const names = first.rivals.map(({ name }) => name).filter((name) => name !== 'generalist');
  const ranked = names.toSorted((one, other) => meanGain(other) - meanGain(one));
  const ahead = ranked.slice(0, ranked.indexOf('ensemble'));
  const title = (name: string) => (name === 'ensemble' ? '**specialists**' : name);
  const seconds = training.epochs.reduce((sum, epoch) => sum + epoch.seconds, 0);
  const settings = (words: readonly string[]) =>
    words.length > 0 ? `\`${words.join(' ')}\`` : 'as by default';
  return `# A classifier from PyTorch

    npm run build && npx tsx scripts/results/icons.ts FOLDER

torchvision's ResNet-18, as it is but for its ${count(data.classes)} classes, learned what icons show and was exported by
\`torch.onnx.export\` (PyTorch ${training.torch}, torchvision ${training.torchvision}). The drawings are those of the npm package
\`@iconify/json\` ${data.iconify}, rendered in 32 x 32 pixels; sets under GPL, NC and SA licences are left out. A class is a name
that at least ${data.fewestFamilies} families of sets draw; sets of one author, prefix or lineage are one family. The families are divided:

- ${data.families.model} taught the model: ${count(data.images.model)} drawings, ${training.epochs.length} epochs, ${duration(seconds)} of processor time, then ${percent(training.epochs.at(-1)?.top1 ?? 0)} of them right;
- ${data.families.own} are what its user has: ${count(data.images.own)} drawings, a quarter of the families for validation, another quarter under each seed;
- ${data.families.test} are the test: ${count(data.images.test)} drawings by hands that neither saw.

All classes have images, so that there are no others to harm. Names are the only labels: \`cancel\` and \`close\` are two classes
that show one thing, and nothing can tell them apart.

## Chosen on validation

Seed ${runs[0].seed}, by cross-fitting: each half of the validation images under what was chosen on the other half. Gain over the model, which has ${percent(variants[0].before)}.

${table(
  ['settings', 'top-1', 'gain', 'NLL', 'kept', 'rule'],
  variants.map(({ words, after, negativeLogLikelihood: loss, kept, specialists, rule }) => [
    settings(words),
    percent(after),
    signedPercent(after - variants[0].before),
    `${variants[0].negativeLogLikelihood.before.toFixed(3)} to ${loss.after.toFixed(3)}`,
    `${kept} of ${specialists}`,
    rule,
  ]),
)}

Taken: ${settings(chosen)}.

## On the test

\`kd-spec patch model.onnx --images photos${chosen.map((word) => ` ${word}`).join('')}\`; gain in top-1 over the model, ± one standard error, paired:

${table(
  ['', 'mean', ...runs.map(({ seed }) => `seed ${seed}`)],
  ranked.map((name) => gainsRow(title(name), named(name))),
)}

The model itself: ${percentWithin(first.test.top1, first.test.standardError)} of ${count(first.test.examples)} test images. ${
    ahead.length > 0
      ? `Ahead of specialists: ${ahead.join(', ')}.`
      : 'Nothing that was compared is ahead of specialists.'
  }

${runs
  .map(({ seed, images, patch, rivals, processorSeconds }) => {
    const made = `${patch.specialists} specialists, ${percent(patch.before.top1)} to ${percent(patch.after.top1)} by running both files`;
    return `- Seed ${seed}: ${count(images.train)} images for training, ${count(images.validation)} for validation; ${made}; ${duration(processorSeconds)} of processor time with the comparison. ${rivals.verdict.text}`;
  })
  .join('\n')}
`;
}
