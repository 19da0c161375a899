/**
 * Section 4 of the paper: several models that differ by their seed alone, their averaged prediction, and one model
 * distilled from it.
 *
 *     npm run build && npx tsx scripts/results/distil-ten.ts pipelines/han-3k.yaml --members 10
 *
 * What stands behind `--` goes to every command, to make the models smaller. Every result is kept in the workspace
 * folder: started again, the script goes on.
 */
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { trainMembers } from './distillation/members.js';
import { renderTenPage, type TenResult } from './distillation/ten-page.js';
import { type Distilled, openRecord, workspaceOf } from './recorded-runs.js';
import { writeResult } from './write-result.js';

const dash = process.argv.indexOf('--');
const own = process.argv.slice(2, dash < 0 ? undefined : dash);
const set = dash < 0 ? [] : process.argv.slice(dash + 1);
const { values, positionals } = parseArgs({
  args: own,
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '1' },
    'student-seeds': { type: 'string', default: '1,2,3' },
    members: { type: 'string', default: '10' },
    workspace: { type: 'string' },
    out: { type: 'string', default: 'docs/results' },
    backend: { type: 'string', default: 'auto' },
    epochs: { type: 'string', default: '12' },
    views: { type: 'string', default: '12' },
    temperatures: { type: 'string', default: '1,2,5,10' },
    'hard-weight': { type: 'string', default: '0.5' },
    mean: { type: 'string', default: 'arithmetic' },
  },
});
const [pipeline = 'pipelines/han-3k.yaml'] = positionals;
const name = `distil-ten-${basename(pipeline, '.yaml')}`;
const { workspace: folder = join('kd-workspace', name), out, ...settings } = values;
const record = openRecord(join(folder, 'results.json'));

const seed = Number(values.seed);
const workspace = workspaceOf(folder, pipeline);
const common = ['--workspace', workspace, '--seed', values.seed, '--backend', values.backend, ...set];
const members = trainMembers(workspace, Number(values.members), { seed, common, record });
const students = values['student-seeds'].split(',').map((own) => {
  const student = [
    ...['distill', ...common, '--student-seed', own],
    ...['--transfer-views', values.views, '--student-epochs', values.epochs],
  ];
  const distilled = record.once<Distilled>(`student ${own}: distilled`, [
    ...student,
    ...['--objective', 'soft-targets'],
    ...members.flatMap(({ checkpoint }) => ['--teacher', checkpoint]),
    ...['--mean', values.mean, '--temperature', values.temperatures, '--hard-weight', values['hard-weight']],
  ]);
  const alone = record.once<Distilled>(`student ${own}: labels alone`, [...student, '--objective', 'labels']);
  return { seed: Number(own), distilled, alone };
});
// The workspace remembers what the flags of the other commands said of the data set.
const ofDataset = ['dataset', '--workspace', workspace, '--seed', values.seed];
const { classes } = record.once<{ classes: number }>('data set', ofDataset);

const result: TenResult = {
  pipeline,
  settings: { ...settings, set },
  classes,
  members: members.map(({ top1 }) => top1),
  students,
};
writeResult(out, name, result, renderTenPage);
