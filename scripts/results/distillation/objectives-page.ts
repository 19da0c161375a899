import { type Distilled, meanAndDeviation, within } from '../recorded-runs.js';
import { typedFlags } from './idx-runs.js';

/** In the order of the table. */
export const objectiveNames = ['labels', 'soft-targets', 'decoupled', 'standardised'] as const;

export interface ObjectivesResult {
  readonly settings: Readonly<Record<string, string>>;
  readonly seeds: readonly {
    readonly seed: number;
    readonly runs: Readonly<Record<(typeof objectiveNames)[number], Distilled>>;
  }[];
}

/** The page of the objectives. */
export function renderObjectivesPage({ settings, seeds }: ObjectivesResult): string {
  const [{ runs }] = seeds;
  const teacher = runs['soft-targets'].teacher;
  const percent = (shares: readonly number[]) => `${within(shares.map((share) => 100 * share))}%`;
  const rows = objectiveNames.map((name) => {
    const own = seeds.map((seed) => seed.runs[name]);
    const gains = seeds.map(({ runs: one }) => 100 * (one[name].test.top1 - one['soft-targets'].test.top1));
    const { mean, deviation } = meanAndDeviation(gains);
    const error = deviation / Math.sqrt(gains.length);
    const chosen = own.map(({ chosen: { temperature, hardWeight } }) => `${temperature}, ${hardWeight}`);
    return [
      name,
      percent(own.map(({ validation }) => validation.top1)),
      percent(own.map(({ test }) => test.top1)),
      name === 'soft-targets' ? '' : `${mean >= 0 ? '+' : ''}${mean.toFixed(2)} ± ${error.toFixed(2)}`,
      name === 'labels' ? '' : chosen.join('; '),
    ];
  });
  const count = (value: number) => value.toLocaleString('en');
  return `# Objectives of distillation compared

${count(Number(settings.classes))} synthetic classes (jft-like), ${count(runs.labels.transferImages)} training images. The teacher, a generalist of ${settings.dense} units in its dense layer, has ${percent([teacher?.test?.top1 ?? Number.NaN])} of the ${count(runs.labels.test.examples)} test images right; students have ${settings['student-dense']} units and ${settings['student-epochs']} epochs. Mean over student seeds ${seeds.map(({ seed }) => seed).join(', ')} ± standard deviation between them; differences are paired by seed, ± their standard error. For each student, T among ${settings.temperature.split(',').join(', ')} and the weight of the labels among ${settings['hard-weight'].split(',').join(', ')} were chosen on validation.

| objective | validation top-1 | test top-1 | points against soft-targets | T and weight of the labels chosen |
| --- | ---: | ---: | ---: | --- |
${rows.map((row) => `| ${row.join(' | ')} |`).join('\n')}

Formulas and sources are in [the method](../method.md#distillation-2-to-4); \`decoupled\` has \`--other-weight ${settings['other-weight']}\`.

Remake it, with every figure in \`distil-objectives.json\`:

    npm run build && npx tsx scripts/results/distil-objectives.ts ${typedFlags(settings)}

The pipeline is \`pipelines/distil-objectives.yaml\`.
`;
}
