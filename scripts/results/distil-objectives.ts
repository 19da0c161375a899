/**
 * What a small student learns from a larger teacher under each objective of `kd-spec distill`: the table of
 * `docs/results/distil-objectives.md`.
 *
 *     npm run build && npx tsx scripts/results/distil-objectives.ts --seeds 1,2,3
 *
 * One teacher; every student differs by its seed. Temperature and weight of the labels are chosen on validation for each
 * student. Started again, the script goes on.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type ObjectivesResult,
  type objectiveNames,
  renderObjectivesPage,
} from './distillation/objectives-page.js';
import { type Distilled, openRecord, workspaceOf } from './recorded-runs.js';
import { writeResult } from './write-result.js';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1,2,3' },
    workspace: { type: 'string', default: 'kd-workspace/distil-objectives' },
    out: { type: 'string', default: 'docs/results' },
    backend: { type: 'string', default: 'wasm' },
    classes: { type: 'string', default: '500' },
    'images-per-class': { type: 'string', default: '60' },
    epochs: { type: 'string', default: '8' },
    dense: { type: 'string', default: '96' },
    'student-epochs': { type: 'string', default: '4' },
    'student-dense': { type: 'string', default: '16' },
    temperature: { type: 'string', default: '1,2,4' },
    'hard-weight': { type: 'string', default: '0.1,1' },
    'other-weight': { type: 'string', default: '4' },
  },
});

const workspace = workspaceOf(join(values.workspace, 'teacher'), 'pipelines/distil-objectives.yaml');
const record = openRecord(join(values.workspace, 'results.json'));
const common = {
  workspace,
  backend: values.backend,
  classes: values.classes,
  'images-per-class': values['images-per-class'],
  epochs: values.epochs,
  dense: values.dense,
  'student-epochs': values['student-epochs'],
  'student-dense': values['student-dense'],
};

function distill(objective: (typeof objectiveNames)[number], seed: string): Distilled {
  const tempered = { temperature: values.temperature, 'hard-weight': values['hard-weight'] };
  const own = {
    labels: {},
    'soft-targets': tempered,
    decoupled: { ...tempered, 'other-weight': values['other-weight'] },
    standardised: tempered,
  }[objective];
  const flags = { ...common, objective, 'student-seed': seed, ...own };
  const words = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]);
  return record.once<Distilled>(`${objective}, seed ${seed}`, ['distill', ...words]);
}

const seeds = values.seeds.split(',').map((seed) => ({
  seed: Number(seed),
  runs: {
    labels: distill('labels', seed),
    'soft-targets': distill('soft-targets', seed),
    decoupled: distill('decoupled', seed),
    standardised: distill('standardised', seed),
  },
}));
const { workspace: _, out, ...settings } = values;
const result: ObjectivesResult = { settings, seeds };
writeResult(out, 'distil-objectives', result, renderObjectivesPage);
