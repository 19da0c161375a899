/**
 * Section 8 of the paper, which it left open: can the specialists' knowledge be put back into one model? For a pipeline
 * and several seeds, students of the generalist's size, of a smaller and of a larger one, taught by the ensemble, by the
 * generalist alone, and by nobody.
 *
 *     npm run build && npx tsx scripts/results/distil-ensemble.ts pipelines/han-3k.yaml --seeds 1,2,3
 *
 * What stands behind `--` goes to every command, to change the pipeline. Every result is kept in the workspace folder:
 * started again, the script goes on.
 */
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type EnsembleResult,
  type Report,
  renderEnsemblePage,
  type SeedResult,
  type Size,
  sizes,
  type TeacherName,
  teachers,
} from './distillation/ensemble-page.js';
import { type Distilled, openRecord, workspaceOf } from './recorded-runs.js';
import { writeResult } from './write-result.js';

const dash = process.argv.indexOf('--');
const own = process.argv.slice(2, dash < 0 ? undefined : dash);
const set = dash < 0 ? [] : process.argv.slice(dash + 1);
const { values, positionals } = parseArgs({
  args: own,
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
    'batch-size': { type: 'string', default: '128' },
    /** Dense layers of the smaller and of the larger student; none: there is no such student. */
    small: { type: 'string', default: '96' },
    'small-convolutions': { type: 'string', default: '16,32' },
    large: { type: 'string', default: 'none' },
    /** Numbers of stored classes that are compared, for the first seed; none: no comparison. */
    tops: { type: 'string', default: '5,20,100' },
  },
});
const [pipeline = 'pipelines/han-3k.yaml'] = positionals;
const name = `distil-ensemble-${basename(pipeline, '.yaml')}`;
const { workspace: folder = join('kd-workspace', name), out, ...settings } = values;
const record = openRecord(join(folder, 'results.json'));
const wanted = sizes.filter((size) => size === 'same' || values[size] !== 'none');

function runSeed(seed: number, { withStored }: { readonly withStored: boolean }): SeedResult {
  const workspace = workspaceOf(join(folder, `seed-${seed}`), pipeline);
  const common = ['--workspace', workspace, '--seed', String(seed), '--backend', values.backend, ...set];
  const { test, dataset } = record.once<Report>(`seed ${seed}: evaluate`, ['evaluate', ...common]);
  const report = { test, dataset: { classes: dataset.classes } };
  const distill = (label: string, changes: Readonly<Record<string, string>>) => {
    const flags = {
      'transfer-views': values.views,
      'student-epochs': values.epochs,
      'student-learning-rate': values['learning-rate'],
      'student-batch-size': values['batch-size'],
      'hard-weight': values['hard-weight'],
      objective: 'soft-targets',
      temperature: values.temperatures,
      'student-dense': 'none',
      'student-convolutions': 'none',
      'answers-top': 'none',
      rest: 'bucket',
      ...changes,
    };
    const words = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]);
    return record.once<Distilled>(`seed ${seed}: ${label}`, ['distill', ...common, ...words]);
  };
  const network = {
    same: {},
    small: { 'student-dense': values.small, 'student-convolutions': values['small-convolutions'] },
    large: { 'student-dense': values.large },
  };
  const students = Object.fromEntries(wanted.map((size) => [size, {}])) as Record<
    Size,
    Record<TeacherName, Distilled>
  >;
  // Teacher by teacher, since a workspace keeps the answers of one.
  for (const teacher of teachers) {
    for (const size of wanted) {
      students[size][teacher] = distill(`${size} size, taught by ${teacher}`, {
        ...network[size],
        ...(teacher === 'nobody' ? { objective: 'labels' } : { teacher }),
      });
    }
  }
  if (!withStored) return { seed, report, students };
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

const result: EnsembleResult = {
  pipeline,
  settings: { ...settings, set },
  seeds: values.seeds
    .split(',')
    .map((seed, index) => runSeed(Number(seed), { withStored: index === 0 && values.tops !== 'none' })),
};
writeResult(out, name, result, renderEnsemblePage);
