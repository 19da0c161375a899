/**
 * Section 6 of the paper: soft targets as a regulariser when there are few data. Goes on in the workspaces of
 * `distil-idx.ts`, whose teacher saw all images.
 *
 *     npm run build && npx tsx scripts/results/distil-few.ts --share 0.03 --seeds 1,2,3
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Distilled, openRecord, within, workspaceOf } from './recorded-runs.js';

const { values } = parseArgs({
  options: {
    source: { type: 'string', default: '/usr/share/datasets/fashion-mnist' },
    seeds: { type: 'string', default: '1,2,3' },
    share: { type: 'string', default: '0.03' },
    workspace: { type: 'string', default: 'kd-workspace/distil-idx' },
    out: { type: 'string', default: 'docs/results' },
    name: { type: 'string', default: 'distil-few' },
    backend: { type: 'string', default: 'auto' },
    epochs: { type: 'string', default: '20' },
    'student-epochs': { type: 'string', default: '15' },
    'few-epochs': { type: 'string', default: '120' },
    temperature: { type: 'string', default: '4' },
  },
});
const seeds = values.seeds.split(',').map(Number);
const record = openRecord(join(values.workspace, 'few.json'));

function runSeed(seed: number) {
  const workspace = workspaceOf(join(values.workspace, `seed-${seed}`), 'pipelines/distil-idx.yaml');
  const distill = (name: string, changes: Readonly<Record<string, string>>) => {
    const settings = {
      workspace,
      seed: String(seed),
      backend: values.backend,
      source: values.source,
      epochs: values.epochs,
      'student-dense': '800,800',
      'transfer-without': 'none',
      'transfer-classes': 'none',
      temperature: values.temperature,
      ...changes,
    };
    const words = Object.entries(settings).flatMap(([flag, value]) => [`--${flag}`, value]);
    return record.once<Distilled>(`seed ${seed}: ${name}`, ['distill', ...words]);
  };
  const few = { 'transfer-share': values.share, 'student-epochs': values['few-epochs'], curve: 'true' };
  const full = { 'transfer-share': '1', 'student-epochs': values['student-epochs'], curve: 'true' };
  return {
    full: distill('all data, hard', { objective: 'labels', ...full }),
    hard: distill('few data, hard', { objective: 'labels', ...few }),
    soft: distill('few data, soft', { objective: 'soft-targets', ...few }),
  };
}

const results = seeds.map(runSeed);
type Who = 'full' | 'hard' | 'soft';
const curveOf = (result: (typeof results)[number], who: Who) => result[who].sweep[0].curve;
const last = (who: Who, what: 'train' | 'test') =>
  results.map((result) => 100 * (curveOf(result, who).at(-1)?.[what] ?? Number.NaN));
/** Test accuracy of the epoch that is best on validation. */
const stopped = (who: Who) =>
  results.map((result) => {
    const curve = curveOf(result, who);
    return 100 * curve.reduce((best, point) => (point.validation > best.validation ? point : best)).test;
  });
const share = (who: Who) =>
  within(results.map((_, seed) => (100 * last(who, 'test')[seed]) / last('full', 'test')[seed]));

const epochs = Number(values['few-epochs']);
const shown = [1, 2, 5, 10, 20, 40, 80, 120, 200].filter((epoch) => epoch <= epochs);
const images = results[0].soft.transferImages.toLocaleString('en');
const table = `${images} training images (${100 * Number(values.share)}%) of Fashion-MNIST, a student of 2 × 800; ${seeds.length === 1 ? `seed ${seeds[0]}` : `mean over seeds ${seeds.join(', ')} ± standard deviation`}. The teacher of section 3 saw all images.

| training set and targets | train accuracy | test accuracy, last epoch | with early stopping | share of full data | the paper (speech): train, test |
| --- | ---: | ---: | ---: | ---: | --- |
| all images, hard | ${within(last('full', 'train'))}% | ${within(last('full', 'test'))}% | ${within(stopped('full'))}% | 100% | 63.4%, 58.9% |
| ${100 * Number(values.share)}%, hard | ${within(last('hard', 'train'))}% | ${within(last('hard', 'test'))}% | ${within(stopped('hard'))}% | ${share('hard')}% | 67.3%, 44.5% (early stopping) |
| ${100 * Number(values.share)}%, soft at T = ${values.temperature} | ${within(last('soft', 'train'))}% | ${within(last('soft', 'test'))}% | ${within(stopped('soft'))}% | ${share('soft')}% | 65.4%, 57.0% (converged) |

Test accuracy over the epochs with ${100 * Number(values.share)}% of the data:

| epoch | ${shown.join(' | ')} |
| --- | ${shown.map(() => '---:').join(' | ')} |
${(['hard', 'soft'] as const)
  .map((who) => {
    const at = (epoch: number) =>
      within(results.map((r) => 100 * (curveOf(r, who)[epoch - 1]?.test ?? Number.NaN)));
    return `| ${who} | ${shown.map((epoch) => `${at(epoch)}%`).join(' | ')} |`;
  })
  .join('\n')}
`;
mkdirSync(values.out, { recursive: true });
writeFileSync(
  join(values.out, `${values.name}.json`),
  `${JSON.stringify({ settings: values, seeds: Object.fromEntries(seeds.map((seed, i) => [seed, results[i]])) }, null, 1)}\n`,
);
writeFileSync(
  join(values.out, `${values.name}.md`),
  `# Soft targets with 3% of the data (section 6)

${table}
Remake it, with every figure in \`${values.name}.json\`:

    npm run build && npx tsx scripts/results/distil-few.ts --share ${values.share} --seeds ${values.seeds} --epochs ${values.epochs} --student-epochs ${values['student-epochs']} --few-epochs ${values['few-epochs']} --temperature ${values.temperature} --backend ${values.backend}

It goes on in the workspaces of \`distil-idx.ts\`; where there are none it trains the teachers first. Early stopping takes the epoch that is best on validation.
`,
);
process.stdout.write(table);
