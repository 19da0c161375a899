import { join } from 'node:path';
import { readPredictions } from '../../../src/data/predictions.js';
import { type Distilled, kdSpec, openRecord, workspaceOf } from '../recorded-runs.js';

/** Flags of every script that distils on IDX data, with their defaults. */
export const idxOptions = {
  source: { type: 'string', default: '/usr/share/datasets/fashion-mnist' },
  seeds: { type: 'string', default: '1,2,3' },
  /** One teacher, of the first seed, and its division of the data for the students of all seeds. */
  'one-teacher': { type: 'boolean', default: false },
  workspace: { type: 'string', default: 'kd-workspace/distil-idx' },
  out: { type: 'string', default: 'docs/results' },
  backend: { type: 'string', default: 'auto' },
  /** Whether the teacher sees its images moved by up to two pixels. */
  jitter: { type: 'string', default: 'true' },
  epochs: { type: 'string', default: '40' },
  /** Images of a step of the teacher's training. */
  'batch-size': { type: 'string', default: '256' },
  'student-epochs': { type: 'string', default: '10' },
} as const;

/** What {@link idxOptions} hold once they are read. */
export interface IdxSettings {
  readonly source: string;
  readonly seeds: string;
  readonly 'one-teacher': boolean;
  readonly workspace: string;
  readonly backend: string;
  readonly jitter: string;
  readonly epochs: string;
  readonly 'batch-size': string;
  readonly 'student-epochs': string;
}

export const seedsOf = ({ seeds }: { readonly seeds: string }) => seeds.split(',').map(Number);

/**
 * Distils students of the teacher of `pipelines/distil-idx.yaml`, one after another in a workspace for each seed; what
 * a run does not change is as in section 3's main result. Results are kept by seed and name, whichever script asks.
 */
export function idxRuns(values: IdxSettings, seed: number) {
  const record = openRecord(join(values.workspace, 'results.json'));
  const { teacher, settings: ofTeacher } = teacherOf(values, seed);
  return (name: string, changes: Readonly<Record<string, string>>) => {
    const settings = {
      ...ofTeacher,
      'student-seed': String(seed),
      'student-epochs': values['student-epochs'],
      'student-batch-size': '256',
      ...(changes.objective === 'labels' ? {} : { objective: 'soft-targets', temperature: '20' }),
      'student-dense': '800,800',
      'transfer-without': 'none',
      'transfer-classes': 'none',
      'bias-correction': 'test-too',
      'transfer-share': '1',
      'transfer-views': '0',
      curve: 'false',
      ...changes,
    };
    return record.once<Distilled>(`teacher ${teacher}, seed ${seed}: ${name}`, [
      'distill',
      ...asWords(settings),
    ]);
  };
}

/** How many test images of a class the teacher of a seed gets right. */
export async function teacherRightOf(values: IdxSettings, seed: number, label: number): Promise<number> {
  const { settings } = teacherOf(values, seed);
  kdSpec(['predict', ...asWords(settings), '--predict-split', 'test']);
  let right = 0;
  for await (const { probabilities, labels } of (
    await readPredictions(join(settings.workspace, 'predictions'))
  ).rows()) {
    const { offsets, indices, values: mass } = probabilities;
    labels?.forEach((own, row) => {
      if (own !== label) return;
      const said = mass.subarray(offsets[row], offsets[row + 1]);
      if (indices[offsets[row] + said.indexOf(Math.max(...said))] === label) right++;
    });
  }
  return right;
}

/** The seed of the teacher whose student a seed is, its workspace, and how it is made. */
function teacherOf(values: IdxSettings, seed: number) {
  const [first] = seedsOf(values);
  const teacher = values['one-teacher'] ? first : seed;
  const settings = {
    workspace: workspaceOf(join(values.workspace, `seed-${teacher}`), 'pipelines/distil-idx.yaml'),
    seed: String(teacher),
    backend: values.backend,
    source: values.source,
    'generalist-augment': values.jitter,
    epochs: values.epochs,
    'batch-size': values['batch-size'],
  };
  return { teacher, settings };
}

const asWords = (settings: Readonly<Record<string, string>>) =>
  Object.entries(settings).flatMap(([flag, value]) => [`--${flag}`, value]);

/** Hard labels of all training images, with the curve over the epochs: sections 3 and 6 both compare with it. */
export const hardStudent = (distill: ReturnType<typeof idxRuns>, { curve = 'true' } = {}) =>
  distill('hard labels', { objective: 'labels', curve });

/** The flags that were set, as they are typed. */
export function typedFlags(values: Readonly<Record<string, string | boolean>>): string {
  return Object.entries(values)
    .filter(([, value]) => value !== false)
    .map(([flag, value]) => (value === true ? `--${flag}` : `--${flag} ${value}`))
    .join(' ');
}
