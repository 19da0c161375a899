/**
 * Features made elsewhere, with very many classes: from stored embeddings to an evaluated ensemble.
 *
 *     npm run build && npx tsx scripts/results/features.ts [--classes 100000] [--work FOLDER] [--out docs/results]
 *
 * Writes embeddings with planted structure as NumPy arrays (see `writeEmbeddings`), runs every stage of kd-spec on them,
 * each in a process of its own, and puts time, processor time and memory of each stage, and the gain, into
 * `features.json` and `features.md`, beside those of other sizes. A run that was interrupted continues; a stage that
 * fails ends it, and the page says how far it got. `--until STAGE` ends it after a stage and writes no page; `--rival`
 * trains what the ensemble is compared with, the generalist for more epochs, in a workspace of its own; `--page` writes
 * the page of what there is.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createRandom } from '../../src/core/random.js';
import {
  type FeaturesResult,
  type FeaturesRun,
  type FeaturesSetting,
  type FeaturesStage,
  renderFeaturesPage,
} from './features/page.js';
import { writeResult } from './write-result.js';

const { values: flags } = parseArgs({
  options: {
    classes: { type: 'string', default: '100000' },
    work: { type: 'string', default: 'kd-workspace/features' },
    out: { type: 'string', default: 'docs/results' },
    program: { type: 'string', default: 'dist/cli/main.js' },
    until: { type: 'string' },
    rival: { type: 'boolean', default: false },
    page: { type: 'boolean', default: false },
  },
});
const rowLength = 8;
const sizes: readonly FeaturesSetting[] = [
  setting(10_000, { cluster: '--clusters 20', rowsPerClass: { train: 3, val: 0.5, test: 0.5 } }),
  setting(100_000, { cluster: '--clusters 200', rowsPerClass: { train: 3, val: 0.1, test: 0.05 } }),
  setting(1_000_000, {
    cluster: '--specialists 40 --size 1000',
    rowsPerClass: { train: 2, val: 0.004, test: 0.002 },
  }),
];

const found = sizes.find(({ classes }) => classes === Number(flags.classes));
if (!found) throw new Error(`--classes: expected ${sizes.map(({ classes }) => classes).join(', ')}`);
const work = join(flags.work, String(found.classes));
const source = join(work, 'embeddings');
const workspace = join(work, 'workspace');
const rivalWorkspace = join(work, 'rival');
const rivalEpochs = 12;
const rows = await writeEmbeddings(source, found);
if (flags.rival) await trainRival(found);
const stages: FeaturesStage[] = [];
for (const words of found.commands) {
  if (flags.rival || flags.page) break;
  const path = join(work, `${words[0]}.stage.json`);
  if (!existsSync(path)) writeFileSync(path, JSON.stringify(await measure(words, workspace)));
  stages.push(JSON.parse(readFileSync(path, 'utf8')));
  if (stages.at(-1)?.failure !== undefined || words[0] === flags.until) break;
}
if (flags.until === undefined) {
  const all = { setting: found, rows, stages: flags.rival || flags.page ? finishedStages(found) : stages };
  writePage({ ...all, ...whatWasFound(), ...rival() });
} else process.stdout.write(`${JSON.stringify(stages, null, 1)}\n`);

function setting(
  classes: number,
  {
    cluster,
    rowsPerClass,
  }: { readonly cluster: string; readonly rowsPerClass: FeaturesSetting['rowsPerClass'] },
): FeaturesSetting {
  const commands = [
    'dataset --source embeddings',
    'train-generalist --dense none --sampled-head 512 --batch-size 256 --learning-rate 0.05 --schedule cosine --patience none --epochs 3 --checkpoint-seconds 600',
    'predict --max-top 50',
    `cluster ${cluster}`,
    'train-specialists --retrain head --specialist-epochs 3 --specialist-batch-size 64 --specialist-learning-rate 0.01 --parallel 2',
    'calibrate --rule share-inside',
    'evaluate',
  ];
  return {
    classes,
    width: 64,
    groupSize: 50,
    spread: { group: 1, class: 0.6, row: 1 },
    rowsPerClass,
    commands: commands.map((words) => words.split(' ')),
  };
}

/** The stages of an earlier call. */
function finishedStages({ commands }: FeaturesSetting): readonly FeaturesStage[] {
  const paths = commands.map(([name]) => join(work, `${name}.stage.json`)).filter(existsSync);
  return paths.map((path) => JSON.parse(readFileSync(path, 'utf8')));
}

/** The generalist for more epochs, on the same rows, and its predictions for the test. */
async function trainRival({ commands }: FeaturesSetting): Promise<void> {
  mkdirSync(rivalWorkspace, { recursive: true });
  for (const name of ['dataset', 'pipeline.yaml'])
    cpSync(join(workspace, name), join(rivalWorkspace, name), { recursive: true, preserveTimestamps: true });
  const training = commands.find(([name]) => name === 'train-generalist') ?? [];
  const longer = training.with(training.indexOf('--epochs') + 1, String(rivalEpochs));
  for (const words of [longer, ['predict', '--predict-split', 'test']]) {
    const path = join(work, `rival-${words[0]}.stage.json`);
    if (!existsSync(path)) writeFileSync(path, JSON.stringify(await measure(words, rivalWorkspace)));
  }
}

function rival(): Pick<FeaturesRun, 'rival'> {
  const path = join(rivalWorkspace, 'predictions', 'manifest.json');
  if (!existsSync(path)) return {};
  const { metrics } = JSON.parse(readFileSync(path, 'utf8'));
  const training: FeaturesStage = JSON.parse(
    readFileSync(join(work, 'rival-train-generalist.stage.json'), 'utf8'),
  );
  return { rival: { epochs: rivalEpochs, examples: metrics.rows, top1: metrics.top1, training } };
}

function whatWasFound(): Pick<FeaturesRun, 'checkedTop1' | 'test'> {
  const manifest = join(workspace, 'generalist', 'manifest.json');
  if (!existsSync(manifest)) return {};
  const checkedTop1 = JSON.parse(readFileSync(manifest, 'utf8')).metrics.validation.top1;
  const path = join(workspace, 'report', 'report.json');
  if (!existsSync(path)) return { checkedTop1 };
  const { test, fusion } = JSON.parse(readFileSync(path, 'utf8'));
  return {
    checkedTop1,
    test: {
      examples: test.examples,
      generalist: test.generalist.top1,
      ensemble: test.ensemble.top1,
      difference: { top1: test.difference.top1, standardError: test.difference.top1StandardError },
      specialists: { trained: fusion.trained, kept: fusion.kept },
      rule: fusion.rule,
    },
  };
}

/** Puts a run into the page, in the place of an earlier one of its size. */
function writePage(run: FeaturesRun): void {
  const path = join(flags.out, 'features.json');
  const before: FeaturesResult = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : [];
  const others = before.filter(({ setting }) => setting.classes !== run.setting.classes);
  const all = [...others, run].sort((a, b) => a.setting.classes - b.setting.classes);
  writeResult(flags.out, 'features', all, renderFeaturesPage);
}

/**
 * Embeddings as an encoder might make them: a class is the centre of its group plus noise, a row its class plus noise, all
 * normal, scaled to one length. Rows are in the order of classes, as people store them.
 */
async function writeEmbeddings(folder: string, setting: FeaturesSetting): Promise<FeaturesRun['rows']> {
  const { classes, width, groupSize, spread, rowsPerClass } = setting;
  const counts = { train: 0, val: 0, test: 0 };
  const splits: (keyof typeof counts)[] = [];
  const labels: number[] = [];
  const random = createRandom(1, 'rows');
  for (let label = 0; label < classes; label++) {
    for (const split of ['train', 'val', 'test'] as const) {
      const mean = rowsPerClass[split];
      const count = Math.floor(mean) + (random.uniform() < mean % 1 ? 1 : 0);
      counts[split] += count;
      for (let row = 0; row < count; row++) {
        splits.push(split);
        labels.push(label);
      }
    }
  }
  if (existsSync(join(folder, 'features.npy'))) return counts;
  mkdirSync(folder, { recursive: true });
  const text = Buffer.alloc(5 * splits.length);
  for (const [row, split] of splits.entries()) text.write(split, 5 * row, 'latin1');
  writeFileSync(join(folder, 'split.npy'), Buffer.concat([header('|S5', [splits.length]), text]));
  writeFileSync(
    join(folder, 'labels.npy'),
    Buffer.concat([header('<i4', [labels.length]), Buffer.from(Int32Array.from(labels).buffer)]),
  );
  const partial = join(folder, 'features.partial.npy');
  const file = createWriteStream(partial);
  file.write(header('<f4', [labels.length, width]));
  const noise = createRandom(1, 'embeddings');
  const near = (mean: Float32Array, deviation: number) =>
    mean.map((value) => value + deviation * noise.normal());
  let group = new Float32Array(width);
  let center = new Float32Array(width);
  let last = -1;
  for (const label of labels) {
    for (; last < label; last++) {
      if ((last + 1) % groupSize === 0) group = near(new Float32Array(width), spread.group);
      center = near(group, spread.class);
    }
    const row = near(center, spread.row);
    const scale = rowLength / Math.hypot(...row);
    if (!file.write(Buffer.from(row.map((value) => scale * value).buffer))) await once(file, 'drain');
  }
  file.end();
  await once(file, 'finish');
  renameSync(partial, join(folder, 'features.npy'));
  return counts;
}

/** The header of a NumPy file, version 1.0. */
function header(type: string, shape: readonly number[]): Buffer {
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': (${shape.join(', ')},), }`;
  const padded = `${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`;
  const start = Buffer.from('\x93NUMPY\x01\x00\x00\x00', 'latin1');
  start.writeUInt16LE(padded.length, 8);
  return Buffer.concat([start, Buffer.from(padded, 'latin1')]);
}

/** Runs a command, and looks at the memory and the processor time of its processes a few times a second. */
async function measure(words: readonly string[], workspace: string): Promise<FeaturesStage> {
  const started = performance.now();
  const own = words.map((word) => (word === 'embeddings' ? source : word));
  const place = ['--workspace', workspace, '--backend', 'wasm', '--json'];
  const child = spawn(process.execPath, [flags.program, ...own, ...place], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    process.stderr.write(text);
    said = `${said}${text}`.slice(-2000);
  });
  let peakBytes = 0;
  let processorSeconds = 0;
  const look = setInterval(() => {
    const all = child.pid === undefined ? [] : family(child.pid);
    const sum = (of: (id: number) => number) => all.reduce((total, id) => total + of(id), 0);
    peakBytes = Math.max(peakBytes, sum(mostBytes));
    processorSeconds = Math.max(processorSeconds, sum(secondsOf));
  }, 200);
  const [code] = await once(child, 'close');
  clearInterval(look);
  const stage = {
    command: words[0],
    seconds: (performance.now() - started) / 1000,
    processorSeconds,
    peakBytes,
  };
  if (code === 75 || code === 130) throw new Error(`${words[0]} was interrupted: run this again`);
  const lines = said.trimEnd().split('\n');
  const from = lines.findLastIndex((line) => line.startsWith('error:'));
  return code === 0 ? stage : { ...stage, failure: lines.slice(from < 0 ? -5 : from).join('\n') };
}

/** A process and all that it started and that still run. */
function family(id: number): readonly number[] {
  const children = ofProcess(id, `task/${id}/children`).split(' ').filter(Boolean).map(Number);
  return [id, ...children.flatMap(family)];
}

/** The most memory that a process has held. */
function mostBytes(id: number): number {
  return 1024 * Number(/VmHWM:\s+(\d+)/.exec(ofProcess(id, 'status'))?.[1] ?? 0);
}

/** The processor time of a process, with that of children that have ended. */
function secondsOf(id: number): number {
  const fields = ofProcess(id, 'stat').split(') ').at(-1)?.split(' ') ?? [];
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) / 100, 0);
}

function ofProcess(pid: number, file: string): string {
  const path = `/proc/${pid}/${file}`;
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it has ended
  }
}
