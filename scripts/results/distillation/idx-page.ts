import { percent } from '../../../src/core/percent.js';
import { type Distilled, within } from '../recorded-runs.js';
import { type IdxSettings, typedFlags } from './idx-runs.js';

export interface SeedResult {
  readonly seed: number;
  readonly hard: Distilled;
  readonly soft: Distilled;
  /** At the temperature that is best on validation. */
  readonly chosen?: Distilled;
  readonly leftOut: Distilled;
  /** Test images of the class that was left out which the teacher, who saw it, gets right. */
  readonly teacherOnLeftOut: number;
  readonly pair: Distilled;
  /** By units a layer; only of the first seed. */
  readonly sweeps?: Readonly<Record<string, Distilled>>;
}

export interface IdxResult {
  readonly settings: Omit<IdxSettings, 'workspace'> & {
    readonly temperature: string;
    readonly 'sweep-epochs': string;
    readonly 'left-out': string;
    readonly pair: string;
    readonly temperatures: string;
    readonly name?: string;
  };
  readonly seeds: readonly SeedResult[];
}

/** The page of section 3. */
export function renderIdxPage({ settings, seeds: results }: IdxResult): string {
  const errors = (pick: (result: SeedResult) => number) => within(results.map(pick));
  const percentOf = (pick: (result: SeedResult) => number) => `${within(results.map((r) => 100 * pick(r)))}%`;
  const teacherErrors = ({ soft }: SeedResult) => soft.teacher?.test?.errors ?? Number.NaN;
  const unseenOf = (
    pick: (result: SeedResult) => { errors: number; unseen: { errors: number } } | undefined,
  ) =>
    `${errors((r) => pick(r)?.errors ?? Number.NaN)}, of them ${errors((r) => pick(r)?.unseen.errors ?? Number.NaN)} on it`;
  const rate = (accuracy: { errors: number; examples: number } | undefined) =>
    accuracy ? accuracy.errors / accuracy.examples : Number.NaN;
  const rightOf = (accuracy: { unseen: { errors: number; examples: number } } | undefined) =>
    accuracy ? 1 - accuracy.unseen.errors / accuracy.unseen.examples : Number.NaN;
  const [{ leftOut, soft, sweeps }] = results;
  /** Of the errors of all seeds together: a gap of few errors in one seed makes a share of anything. */
  const gapClosed = (student: (result: SeedResult) => Distilled) => {
    const sum = (pick: (result: SeedResult) => number) => results.reduce((total, r) => total + pick(r), 0);
    const alone = sum(({ hard }) => hard.test.errors);
    const share = (alone - sum((r) => student(r).test.errors)) / (alone - sum(teacherErrors));
    return percent(share);
  };
  const chosenOf = (result: SeedResult) => result.chosen ?? result.soft;
  const chosenTemperatures = results.map((result) => chosenOf(result).chosen.temperature).join(', ');
  const chosenRows = results.every(({ chosen }) => chosen)
    ? `
| the same, T chosen on validation: ${chosenTemperatures} | ${errors((r) => chosenOf(r).test.errors)} | |
| share of the gap that these close | ${gapClosed(chosenOf)} | |`
    : '';
  const temperatures = settings.temperatures.split(',').map(Number);
  const names = results.map(({ seed }) => seed).join(', ');
  const teachers = settings['one-teacher'] ? ' of students of one teacher' : '';
  return `# A large teacher and smaller students (section 3)

Data: ${settings.source.split('/').at(-1)}, ${soft.test.examples.toLocaleString('en')} test images; ${results.length === 1 ? `seed ${names}` : `mean over seeds ${names}${teachers} ± standard deviation between them`}. Teacher ${settings.epochs} epochs, students ${settings['student-epochs']}.

| | test errors | the paper, on MNIST |
| --- | ---: | ---: |
| teacher, 2 × 1200, dropout, weight-norm constraint${settings.jitter === 'true' ? ', jitter' : ''} | ${errors(teacherErrors)} | 67 |
| student, 2 × 800, hard labels, no regularisation | ${errors(({ hard }) => hard.test.errors)} | 146 |
| the same student, soft targets at T = ${settings.temperature} | ${errors(({ soft: { test } }) => test.errors)} | 74 (T = 20) |
| share of the gap that soft targets close | ${gapClosed((r) => r.soft)} | 91% |${chosenRows}
| transfer set without class ${settings['left-out']} (${leftOut.test.unseen.examples} test images) | ${unseenOf(({ leftOut: { bias } }) => bias?.test.before)} | 206, of them 133 on 3s |
| the same, bias fitted on validation | ${unseenOf(({ leftOut: { test } }) => test)} | |
| the same, bias tuned on the test itself | ${unseenOf(({ leftOut: { bias } }) => bias?.testTuned?.test)} | 109, of them 14 on 3s |
| of the left-out class right, bias fitted on validation | ${percentOf(({ leftOut: { test } }) => rightOf(test))} | 98.6% (tuned on the test) |
| the same, of what the teacher gets | ${percentOf(({ leftOut: { test }, teacherOnLeftOut }) => (rightOf(test) * test.unseen.examples) / teacherOnLeftOut)} | |
| transfer set of classes ${settings.pair} only | ${percentOf(({ pair }) => rate(pair.bias?.test.before))} error | 47.3% |
| the same, bias fitted on validation | ${percentOf(({ pair }) => rate(pair.test))} error | |
| the same, bias tuned on the test itself | ${percentOf(({ pair }) => rate(pair.bias?.testTuned?.test))} error | 13.2% |

Offsets of the biases of unseen classes, fitted on validation: ${errors(({ leftOut: { bias } }) => bias?.offset ?? 0)} for the class that was left out (the paper: 3.5), ${errors(({ pair: { bias } }) => bias?.offset ?? 0)} for all but the two (the paper lowers those of the two by 7.6).

Errors on ${soft.validation.examples.toLocaleString('en')} validation images over the temperature, labels at weight 0, after ${settings['sweep-epochs']} epochs (seed ${results[0].seed}):

| units a layer | ${temperatures.map((t) => `T = ${t}`).join(' | ')} | the paper |
| ---: | ${temperatures.map(() => '---:').join(' | ')} | --- |
${Object.entries(sweeps ?? {})
  .toSorted(([a], [b]) => Number(b) - Number(a))
  .map(([units, { sweep }]) => {
    const cells = temperatures.map(
      (t) => sweep.find(({ temperature }) => temperature === t)?.validation.errors ?? '',
    );
    const paper = units === '300' ? 'every T above 8 about the same' : 'T from 2.5 to 4 clearly best';
    return `| ${units} | ${cells.join(' | ')} | ${paper} |`;
  })
  .join('\n')}

Remake it, with every figure in \`${settings.name ?? 'distil-idx'}.json\`:

    npm run build && npx tsx scripts/results/distil-idx.ts ${typedFlags({ ...settings })}

The pipeline is \`pipelines/distil-idx.yaml\`. Temperatures and biases are chosen on validation; a bias that was tuned on the test is shown because the paper did so, and is used for nothing else.
`;
}
