/**
 * Features made elsewhere, with very many classes: from stored embeddings to an evaluated ensemble.
 *
 *     npm run build && npx tsx scripts/results/features.ts [--classes 100000] [--work FOLDER] [--out docs/results]
 *
 * Writes embeddings with planted structure as NumPy arrays (see `writeEmbeddings`), runs every stage of kd-spec on them,
 * each in a process of its own, and writes `features.json` and `features.md`: time, processor time and memory of each
 * stage, and the gain. A run that was interrupted continues.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createRandom } from '../../src/core/random.js';
import { writeResult } from './write-result.js';

const { values: flags } = parseArgs({
  options: {
    classes: { type: 'string', default: '100000' },
    clusters: { type: 'string', default: '400' },
    epochs: { type: 'string', default: '4' },
    work: { type: 'string', default: 'kd-workspace/features' },
    out: { type: 'string', default: 'docs/results' },
    program: { type: 'string', default: 'dist/cli/main.js' },
  },
});
const classes = Number(flags.classes);
const width = 64;
const groupSize = 50; // classes that lie close together
const rowsPerClass = { train: 5, val: 0.5, test: 0.25 }; // on average
const spread = { group: 8, class: 1.4, row: 2.8 };

interface Stage {
  readonly command: string;
  readonly seconds: number;
  readonly processorSeconds: number;
  readonly peakBytes: number;
}

interface Result {
  readonly classes: number;
  readonly width: number;
  readonly rows: Readonly<Record<string, number>>;
  readonly stages: readonly Stage[];
  readonly generalist: { readonly top1: number };
  readonly ensemble: { readonly top1: number };
  /** Ensemble less generalist, paired. */
  readonly difference: { readonly top1: number; readonly standardError: number };
  readonly specialists: { readonly trained: number; readonly kept: number };
  readonly rule: string;
}

const source = join(flags.work, 'embeddings');
const rows = await writeEmbeddings(source);
const workspace = join(flags.work, 'workspace');
const sampled = Math.min(1024, classes);
const training = [
  '--dense',
  'none',
  '--sampled-head',
  String(sampled),
  '--batch-size',
  '256',
  '--learning-rate',
  '0.01',
];
const schedule = ['--patience', 'none', '--schedule', 'cosine', '--epochs', flags.epochs];
const commands: readonly (readonly string[])[] = [
  ['dataset', '--source', source],
  ['train-generalist', ...training, ...schedule],
  ['predict', '--max-top', '20'],
  ['cluster', '--clusters', flags.clusters],
  ['train-specialists', '--retrain', 'head', '--specialist-epochs', '4'],
  ['calibrate'],
  ['evaluate'],
];
const stages: Stage[] = [];
for (const words of commands) {
  const path = join(flags.work, `${words[0]}.stage.json`);
  if (!existsSync(path)) writeFileSync(path, JSON.stringify(await measure(words)));
  stages.push(JSON.parse(readFileSync(path, 'utf8')));
}
const report = JSON.parse(readFileSync(join(workspace, 'report', 'report.json'), 'utf8'));
const result: Result = {
  classes,
  width,
  rows,
  stages,
  generalist: { top1: report.test.generalist.top1 },
  ensemble: { top1: report.test.ensemble.top1 },
  difference: {
    top1: report.test.difference.top1,
    standardError: report.test.difference.top1StandardError,
  },
  specialists: { trained: report.fusion.trained, kept: report.fusion.kept },
  rule: report.fusion.rule,
};
writeResult(flags.out, 'features', result, render);

/**
 * Embeddings as an encoder might make them: classes in groups of 50, near each other within a group. A class is the
 * centre of its group plus noise, a row the class plus noise; all normal. Rows are in the order of classes, as people
 * store them.
 */
async function writeEmbeddings(folder: string): Promise<Readonly<Record<string, number>>> {
  const counts: Record<string, number> = { train: 0, val: 0, test: 0 };
  const splits: string[] = [];
  const labels: number[] = [];
  const random = createRandom(1, 'rows');
  for (let label = 0; label < classes; label++) {
    for (const [split, mean] of Object.entries(rowsPerClass)) {
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
  const file = createWriteStream(join(folder, 'features.npy'));
  file.write(header('<f4', [labels.length, width]));
  const noise = createRandom(1, 'embeddings');
  let group = new Float32Array(width);
  let center = new Float32Array(width);
  const near = (mean: Float32Array, deviation: number) =>
    mean.map((value) => value + deviation * noise.normal());
  let last = -1;
  for (const label of labels) {
    for (; last < label; last++) {
      if ((last + 1) % groupSize === 0) group = near(new Float32Array(width), spread.group);
      center = near(group, spread.class);
    }
    if (!file.write(Buffer.from(near(center, spread.row).buffer))) await once(file, 'drain');
  }
  file.end();
  await once(file, 'finish');
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

/** Runs a command, and looks at the memory of its process twice a second. */
async function measure(words: readonly string[]): Promise<Stage> {
  const started = performance.now();
  const child = spawn(process.execPath, [flags.program, ...words, '--workspace', workspace, '--json'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  let peakBytes = 0;
  let processorSeconds = 0;
  const look = setInterval(() => {
    const status = existsSync(`/proc/${child.pid}/status`)
      ? readFileSync(`/proc/${child.pid}/status`, 'utf8')
      : '';
    peakBytes = Math.max(peakBytes, 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0));
    const stat = existsSync(`/proc/${child.pid}/stat`)
      ? readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1].split(' ')
      : [];
    processorSeconds = Math.max(processorSeconds, (Number(stat[11] ?? 0) + Number(stat[12] ?? 0)) / 100);
  }, 500);
  const [code] = await once(child, 'exit');
  clearInterval(look);
  if (code !== 0) throw new Error(`${words.join(' ')} ended with code ${code}`);
  return { command: words[0], seconds: (performance.now() - started) / 1000, processorSeconds, peakBytes };
}

function render(result: Result): string {
  const { classes, width, rows, stages, generalist, ensemble, difference, specialists, rule } = result;
  const percent = (share: number) => `${(100 * share).toFixed(2)}%`;
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
  const count = (value: number) => value.toLocaleString('en');
  const total = (key: 'seconds' | 'processorSeconds') => stages.reduce((sum, stage) => sum + stage[key], 0);
  const minutes = (seconds: number) => `${(seconds / 60).toFixed(1)} min`;
  return `# Features made elsewhere

Made by \`scripts/results/features.ts\`; its first lines say how to repeat it.

${count(classes)} classes of embeddings of ${width} numbers, stored as NumPy arrays (\`features.npy\`, \`labels.npy\`,
\`split.npy\`): ${count(rows.train)} training rows, ${count(rows.val)} for validation, ${count(rows.test)} for the test. **The structure is
planted**: classes lie in groups of ${groupSize}, a class near the centre of its group, a row near its class (normal noise of ${spread.class} and
${spread.row} around centres of ${spread.group}). Real embeddings of so many labelled classes were not at hand. The generalist is a linear
head that kd-spec trains with a sampled softmax; specialists are linear heads on the same features.

| | top-1 on the test |
| --- | --- |
| generalist | ${percent(generalist.top1)} |
| ensemble (${specialists.kept} of ${specialists.trained} specialists kept, rule ${rule}) | ${percent(ensemble.top1)} |
| difference, paired, one seed | ${percent(difference.top1)} ± ${percent(difference.standardError)} |

| stage | time | processor time | peak memory |
| --- | --- | --- | --- |
${stages.map((stage) => `| \`${stage.command}\` | ${minutes(stage.seconds)} | ${minutes(stage.processorSeconds)} | ${gigabytes(stage.peakBytes)} |`).join('\n')}
| all | ${minutes(total('seconds'))} | ${minutes(total('processorSeconds'))} | ${gigabytes(Math.max(...stages.map(({ peakBytes }) => peakBytes)))} |

WebAssembly backend, one process, run at the lowest priority on a machine of two cores that did other work: the processor
time is what a stage costs, the time by the clock what it took there. Memory is what the process held at most (VmHWM).
`;
}
