import { percent } from '../../../src/core/percent.js';
import { type Distilled, within } from '../recorded-runs.js';
import { typedFlags } from './idx-runs.js';

export const teachers = ['ensemble', 'generalist', 'nobody'] as const;
export type TeacherName = (typeof teachers)[number];
export const sizes = ['same', 'small', 'large'] as const;
export type Size = (typeof sizes)[number];

/** What is used of `kd-spec evaluate --json`. */
export interface Report {
  readonly test: {
    readonly generalist: { readonly top1: number };
    readonly ensemble: { readonly top1: number };
  };
  readonly dataset: { readonly classes: number };
}

type ByTeacher = Readonly<Record<TeacherName, Distilled>>;

interface StoredResult {
  readonly top: string;
  readonly rest: string;
  readonly result: Distilled;
}

export interface SeedResult {
  readonly seed: number;
  readonly report: Report;
  readonly students: { readonly same: ByTeacher } & Readonly<Partial<Record<Size, ByTeacher>>>;
  /** By how much of an answer is stored; only of the first seed. */
  readonly stored?: readonly StoredResult[];
}

type Flag =
  | 'seeds'
  | 'epochs'
  | 'views'
  | 'temperatures'
  | 'hard-weight'
  | 'learning-rate'
  | 'batch-size'
  | 'small'
  | 'small-convolutions'
  | 'large'
  | 'tops'
  | 'backend';

export interface EnsembleResult {
  readonly pipeline: string;
  readonly settings: Readonly<Record<Flag, string>> & { readonly set: readonly string[] };
  readonly seeds: readonly SeedResult[];
}

const share = (value = Number.NaN) => percent(value, 2);

const sizeNames: Readonly<Record<Size, string>> = {
  same: "student of the generalist's size",
  small: 'smaller student',
  large: 'larger student',
};

/** The page of section 8. */
export function renderEnsemblePage({ pipeline, settings, seeds: results }: EnsembleResult): string {
  const name = pipeline.split('/').at(-1)?.replace('.yaml', '');
  const percent = (pick: (result: SeedResult) => number) => `${within(results.map((r) => 100 * pick(r)))}%`;
  const generalist = ({ report }: SeedResult) => report.test.generalist.top1;
  const ensemble = ({ report }: SeedResult) => report.test.ensemble.top1;
  const kept = (pick: (result: SeedResult) => Distilled) =>
    percent((r) => (pick(r).test.top1 - generalist(r)) / (ensemble(r) - generalist(r)));
  /** The same against the student that nobody taught: what of the gain is the teacher's. */
  const ofTeacher = (students: (result: SeedResult) => ByTeacher, teacher: TeacherName) =>
    teacher === 'nobody'
      ? ''
      : within(
          results.map((r) => 100 * (students(r)[teacher].test.top1 - students(r).nobody.test.top1)),
          2,
        );

  const [first] = results;
  const rows = sizes.flatMap((size) => {
    if (!first.students[size]) return [];
    const students = (r: SeedResult) => r.students[size] as ByTeacher; // every seed has the same sizes
    return teachers.map((teacher) => {
      const of = (r: SeedResult) => students(r)[teacher];
      const label = `${sizeNames[size]}, taught by ${teacher === 'nobody' ? 'nobody (labels, as long)' : `the ${teacher}`}`;
      const chosen = teacher === 'nobody' ? '' : results.map((r) => of(r).chosen.temperature).join(', ');
      return `| ${label} | ${of(first).parameters.toLocaleString('en')} | ${percent((r) => of(r).test.top1)} | ${kept(of)} | ${ofTeacher(students, teacher)} | ${chosen} |`;
    });
  });
  const table = `${first.report.dataset.classes.toLocaleString('en')} classes; ${results.length === 1 ? `seed ${results[0].seed}` : `mean over seeds ${results.map(({ seed }) => seed).join(', ')} ± standard deviation between them`}. Every student passes ${settings.epochs} times over the training images, ${settings.views === '0' ? 'as they are' : `in ${settings.views} augmented views`}.

| | parameters | test top-1 | share of the ensemble's gain over the generalist | points above the student taught by nobody | T chosen |
| --- | ---: | ---: | ---: | ---: | ---: |
| generalist | | ${percent(generalist)} | 0% | | |
| ensemble | | ${percent(ensemble)} | 100% | | |
${rows.join('\n')}
`;
  const { set, ...flags } = settings;
  return `# The ensemble put back into one model (section 8): ${name}

${table}${first.stored ? storedSection(first, first.stored) : ''}
Remake it, with every figure in \`distil-ensemble-${name}.json\`:

    npm run build && npx tsx scripts/results/distil-ensemble.ts ${pipeline} ${typedFlags(flags)}${set.length > 0 ? ` -- ${set.join(' ')}` : ''}
`;
}

/** How much of an answer has to be stored. */
function storedSection({ seed, students }: SeedResult, stored: readonly StoredResult[]): string {
  const all = { top: '100', rest: 'bucket', result: students.same.ensemble }; // what the table above has
  const rows = [all, ...stored].map(
    ({ top, rest, result: { teacher, validation, test } }) =>
      `| ${top} | ${rest} | ${share(teacher?.keptMass)} | ${share(validation.top1)} | ${share(test.top1)} |`,
  );
  return `
What a stored answer may leave out: the student of the generalist's size, taught by the ensemble at the chosen temperature (seed ${seed}).

| classes stored | the rest | mass they hold | validation top-1 | test top-1 |
| ---: | --- | ---: | ---: | ---: |
${rows.join('\n')}
`;
}
