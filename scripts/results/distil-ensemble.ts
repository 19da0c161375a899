/**
 * Section 8 of the paper, which it left open: can the specialists' knowledge be put back into one model? For a pipeline
 * and several seeds, students of the generalist's size and of a smaller one, taught by the ensemble, by the generalist
 * alone, and by nobody.
 *
 *     npm run build && npx tsx scripts/results/distil-ensemble.ts pipelines/han-3k.yaml --seeds 1,2,3
 *
 * Every result is kept in the workspace folder: started again, the script goes on.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Distilled, openRecord, within, workspaceOf } from './recorded-runs.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    workspace: { type: 'string' },
    out: { type: 'string', default: 'docs/results' },
    backend: { type: 'string', default: 'auto' },
    /** Passes of every student; each image is shown in as many augmented views. */
    epochs: { type: 'string', default: '24' },
    views: { type: 'string', default: '12' },
    temperatures: { type: 'string', default: '1,2,4' },
    'hard-weight': { type: 'string', default: '0.1' },
    'learning-rate': { type: 'string', default: '0.004' },
    small: { type: 'string', default: '96' },
    'small-convolutions': { type: 'string', default: '16,32' },
    /** Numbers of stored classes that are compared. */
    tops: { type: 'string', default: '5,20,100' },
  },
});
const [pipeline = 'pipelines/han-3k.yaml'] = positionals;
const name = `distil-ensemble-${basename(pipeline, '.yaml')}`;
const folder = values.workspace ?? join('kd-workspace', name);
const seeds = values.seeds.split(',').map(Number);
const record = openRecord(join(folder, 'results.json'));

interface Report {
  readonly test: {
    readonly generalist: { readonly top1: number };
    readonly ensemble: { readonly top1: number };
  };
  readonly dataset: { readonly classes: number };
}

const teachers = ['ensemble', 'generalist', 'nobody'] as const;
type TeacherName = (typeof teachers)[number];
const sizes = ['same', 'small'] as const;
type Size = (typeof sizes)[number];

function runSeed(seed: number) {
  const workspace = workspaceOf(join(folder, `seed-${seed}`), pipeline);
  const common = ['--workspace', workspace, '--seed', String(seed), '--backend', values.backend];
  const report = record.once<Report>(`seed ${seed}: evaluate`, ['evaluate', ...common]);
  const distill = (label: string, changes: Readonly<Record<string, string>>) => {
    const settings = {
      'transfer-views': values.views,
      'student-epochs': values.epochs,
      'student-learning-rate': values['learning-rate'],
      'hard-weight': values['hard-weight'],
      objective: 'soft-targets',
      temperature: values.temperatures,
      'student-dense': 'none',
      'student-convolutions': 'none',
      'answers-top': 'none',
      rest: 'bucket',
      ...changes,
    };
    const words = Object.entries(settings).flatMap(([flag, value]) => [`--${flag}`, value]);
    return record.once<Distilled>(`seed ${seed}: ${label}`, ['distill', ...common, ...words]);
  };
  const network = {
    same: {},
    small: { 'student-dense': values.small, 'student-convolutions': values['small-convolutions'] },
  };
  const students = Object.fromEntries(
    sizes.map((size) => [
      size,
      Object.fromEntries(
        teachers.map((teacher) => [
          teacher,
          distill(`${size} size, taught by ${teacher}`, {
            ...network[size],
            ...(teacher === 'nobody' ? { objective: 'labels' } : { teacher }),
          }),
        ]),
      ),
    ]),
  ) as Record<Size, Record<TeacherName, Distilled>>;
  const { chosen } = students.same.ensemble;
  const stored = values.tops.split(',').flatMap((top) =>
    (['bucket', 'spread'] as const).map((rest) => ({
      top,
      rest,
      result: distill(`${top} stored classes, ${rest}`, {
        teacher: 'ensemble',
        'answers-top': top,
        rest,
        temperature: String(chosen.temperature),
      }),
    })),
  );
  return { seed, report, students, stored };
}

const results = seeds.map(runSeed);
type Result = (typeof results)[number];
const percent = (pick: (result: Result) => number) => `${within(results.map((r) => 100 * pick(r)))}%`;
const generalist = ({ report }: Result) => report.test.generalist.top1;
const ensemble = ({ report }: Result) => report.test.ensemble.top1;
const kept = (pick: (result: Result) => Distilled) =>
  percent((r) => (pick(r).test.top1 - generalist(r)) / (ensemble(r) - generalist(r)));
/** The same against the student that nobody taught: what of the gain is the teacher's. */
const ofTeacher = (size: Size, teacher: TeacherName) =>
  teacher === 'nobody'
    ? ''
    : within(
        results.map((r) => 100 * (r.students[size][teacher].test.top1 - r.students[size].nobody.test.top1)),
        2,
      );

const rows = sizes.flatMap((size) =>
  teachers.map((teacher) => {
    const of = (r: Result) => r.students[size][teacher];
    const [first] = results;
    const label = `${size === 'same' ? "student of the generalist's size" : 'smaller student'}, taught by ${teacher === 'nobody' ? 'nobody (labels, as long)' : `the ${teacher}`}`;
    const chosen = teacher === 'nobody' ? '' : results.map((r) => of(r).chosen.temperature).join(', ');
    return `| ${label} | ${of(first).parameters.toLocaleString('en')} | ${percent((r) => of(r).test.top1)} | ${kept(of)} | ${ofTeacher(size, teacher)} | ${chosen} |`;
  }),
);
const tops = results[0].stored.map(({ top, rest }, index) => {
  const of = (r: Result) => r.stored[index].result;
  return `| ${top} | ${rest} | ${percent((r) => of(r).teacher?.keptMass ?? Number.NaN)} | ${percent((r) => of(r).validation.top1)} | ${percent((r) => of(r).test.top1)} |`;
});
const table = `${results[0].report.dataset.classes.toLocaleString('en')} classes; ${seeds.length === 1 ? `seed ${seeds[0]}` : `mean over seeds ${seeds.join(', ')} ± standard deviation between them`}. Every student passes ${values.epochs} times over the training images, in ${values.views} augmented views.

| | parameters | test top-1 | share of the ensemble's gain over the generalist | points above the student taught by nobody | T chosen |
| --- | ---: | ---: | ---: | ---: | ---: |
| generalist | | ${percent(generalist)} | 0% | | |
| ensemble | | ${percent(ensemble)} | 100% | | |
${rows.join('\n')}

What a stored answer may leave out: the student of the generalist's size, taught by the ensemble at the chosen temperature.

| classes stored | the rest | mass they hold | validation top-1 | test top-1 |
| ---: | --- | ---: | ---: | ---: |
${tops.join('\n')}
`;
mkdirSync(values.out, { recursive: true });
writeFileSync(
  join(values.out, `${name}.json`),
  `${JSON.stringify({ settings: values, seeds: results }, null, 1)}\n`,
);
const flags = (
  [
    'seeds',
    'epochs',
    'views',
    'temperatures',
    'hard-weight',
    'learning-rate',
    'small',
    'small-convolutions',
    'tops',
    'backend',
  ] as const
)
  .map((flag) => `--${flag} ${values[flag]}`)
  .join(' ');
writeFileSync(
  join(values.out, `${name}.md`),
  `# The ensemble put back into one model (section 8): ${basename(pipeline, '.yaml')}

${table}
Remake it, with every figure in \`${name}.json\`:

    npm run build && npx tsx scripts/results/distil-ensemble.ts ${pipeline} ${flags}
`,
);
process.stdout.write(table);
