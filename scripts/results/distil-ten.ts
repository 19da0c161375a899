/**
 * Section 4 of the paper: several models that differ by their seed alone, their averaged prediction, and one model
 * distilled from it.
 *
 *     npm run build && npx tsx scripts/results/distil-ten.ts pipelines/han-3k.yaml --members 10
 *
 * Every result is kept in the workspace folder: started again, the script goes on.
 */
import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Distilled, kdSpec, openRecord, within, workspaceOf } from './recorded-runs.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '1,2,3' },
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
const folder = values.workspace ?? join('kd-workspace', name);
const seeds = values.seeds.split(',').map(Number);
const record = openRecord(join(folder, 'results.json'));

function runSeed(seed: number) {
  const workspace = workspaceOf(join(folder, `seed-${seed}`), pipeline);
  const common = ['--workspace', workspace, '--seed', String(seed), '--backend', values.backend];
  const members: { readonly top1: number; readonly checkpoint: string }[] = [];
  for (let member = 1; member <= Number(values.members); member++) {
    const checkpoint = join(workspace, 'members', String(member));
    const own = ['--generalist-seed', String(1000 * seed + member)];
    if (!existsSync(checkpoint)) {
      kdSpec(['train-generalist', ...common, ...own]);
      const partial = `${checkpoint}.partial`;
      rmSync(partial, { recursive: true, force: true });
      cpSync(join(workspace, 'generalist'), partial, { recursive: true });
      renameSync(partial, checkpoint);
    }
    const { top1 } = record.once<{ top1: number }>(`seed ${seed}: member ${member}`, [
      'predict',
      ...common,
      ...own,
      '--predict-split',
      'test',
    ]);
    members.push({ top1, checkpoint });
  }
  const distilled = record.once<Distilled>(`seed ${seed}: distilled`, [
    'distill',
    ...common,
    ...members.flatMap(({ checkpoint }) => ['--teacher', checkpoint]),
    ...['--mean', values.mean, '--temperature', values.temperatures, '--hard-weight', values['hard-weight']],
    ...['--transfer-views', values.views, '--student-epochs', values.epochs],
  ]);
  return { seed, members: members.map(({ top1 }) => top1), distilled };
}

const results = seeds.map(runSeed);
type Result = (typeof results)[number];
const percent = (pick: (result: Result) => number) => `${within(results.map((r) => 100 * pick(r)))}%`;
const single = ({ members }: Result) => members.reduce((sum, top1) => sum + top1, 0) / members.length;
const averaged = ({ distilled }: Result) => distilled.teacher?.test?.top1 ?? Number.NaN;
const table = `${values.members} models of the pipeline's generalist; ${seeds.length === 1 ? `seed ${seeds[0]}` : `mean over seeds ${seeds.join(', ')} ± standard deviation between them`}. The distilled model has the size of one, learns for ${values.epochs} epochs of ${values.views} views, T chosen among ${values.temperatures} on validation.

| | test top-1 | the paper (speech frames) |
| --- | ---: | ---: |
| one model (mean over the ${values.members}) | ${percent(single)} | 58.9% |
| the ${values.members}, predictions averaged | ${percent(averaged)} | 61.1% |
| one model distilled from them | ${percent(({ distilled }) => distilled.test.top1)} | 60.8% |
| share of the gain that it keeps | ${percent((r) => (r.distilled.test.top1 - single(r)) / (averaged(r) - single(r)))} | 86% |

T chosen: ${results.map(({ distilled }) => distilled.chosen.temperature).join(', ')}.
`;
mkdirSync(values.out, { recursive: true });
writeFileSync(
  join(values.out, `${name}.json`),
  `${JSON.stringify({ settings: values, seeds: results }, null, 1)}\n`,
);
const flags = (
  ['seeds', 'members', 'epochs', 'views', 'temperatures', 'hard-weight', 'mean', 'backend'] as const
)
  .map((flag) => `--${flag} ${values[flag]}`)
  .join(' ');
writeFileSync(
  join(values.out, `${name}.md`),
  `# Many models distilled into one (section 4): ${basename(pipeline, '.yaml')}

${table}
Remake it, with every figure in \`${name}.json\`:

    npm run build && npx tsx scripts/results/distil-ten.ts ${pipeline} ${flags}
`,
);
process.stdout.write(table);
