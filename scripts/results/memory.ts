/**
 * Memory over many training steps, on every backend that loads.
 *
 *     npm run build && npx tsx scripts/results/memory.ts [--steps 10000] [--out docs/results]
 *
 * Trains a small convolutional network on glyphs that a batch thread degrades, through `train`, with a checkpoint every
 * 20 seconds; each backend in a process of its own. Writes `training-memory.json` with what the process and the
 * backend held every hundredth of the way, and a figure of it, `training-memory.svg`.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { type BackendName, describeBackends, selectBackend } from '../../src/compute/backend.js';
import { silentLog } from '../../src/core/log.js';
import { packageFolder } from '../../src/core/package.js';
import { createRandom } from '../../src/core/random.js';
import type { Dataset } from '../../src/data/dataset.js';
import { createNetwork } from '../../src/models/network.js';
import { Optimizer } from '../../src/training/optimizer.js';
import { train } from '../../src/training/train.js';
import { withGlyphs } from '../bench/training/workload.js';

/** Memory at a step. */
interface Sample {
  readonly step: number;
  readonly residentBytes: number;
  readonly heapBytes: number;
  readonly tensors: number;
  readonly tensorBytes: number;
}

interface Course {
  readonly backend: string;
  readonly samples: readonly Sample[];
}

const { values: flags } = parseArgs({
  options: {
    steps: { type: 'string', default: '10000' },
    out: { type: 'string', default: 'docs/results' },
    backend: { type: 'string' },
  },
});
const totalSteps = Number(flags.steps);
const batchSize = 32;

if (flags.backend !== undefined) {
  console.log(JSON.stringify(await withGlyphs((dataset) => course(flags.backend as BackendName, dataset))));
} else {
  const backends = (await describeBackends()).filter(({ available }) => available).map(({ name }) => name);
  const courses = backends.map((backend): Course => {
    const words = ['--import', 'tsx', import.meta.filename, '--steps', flags.steps, '--backend', backend];
    return JSON.parse(execFileSync(process.execPath, words, { encoding: 'utf8', maxBuffer: 2 ** 24 }));
  });
  writeFileSync(
    join(flags.out, 'training-memory.json'),
    `${JSON.stringify({ batchSize, courses }, null, 1)}\n`,
  );
  writeFileSync(join(flags.out, 'training-memory.svg'), figure(courses));
  for (const { backend, samples } of courses) {
    const middle = samples[Math.floor(samples.length / 2)];
    const last = samples.at(-1);
    const mebibytes = (bytes = 0) => Math.round(bytes / 2 ** 20);
    console.log(
      `${backend}: at step ${middle.step} ${mebibytes(middle.residentBytes)} MiB resident and ${middle.tensors} tensors, ` +
        `at step ${last?.step} ${mebibytes(last?.residentBytes)} MiB and ${last?.tensors}`,
    );
  }
}

async function course(backend: BackendName, dataset: Dataset): Promise<Course> {
  const { name, operations } = await selectBackend(backend);
  const network = createNetwork(
    operations,
    {
      input: dataset.image,
      convolutions: [8, 16],
      kernel: 3,
      dense: [32],
      normalisation: 'batch',
      dropout: 0.1,
      outputs: dataset.classes.length,
    },
    createRandom('memory'),
  );
  const optimizer = new Optimizer('adamw', network, 'convolutions');
  // What is built: a thread runs a program of its own.
  const built = (path: string) =>
    pathToFileURL(join(packageFolder(), 'dist', 'training', 'ahead', path)).href;
  const { openBatchesAhead }: typeof import('../../src/training/batches-ahead.js') = await import(
    built('batches-ahead.js')
  );
  const { imageSource }: typeof import('../../src/training/image-batches.js') = await import(
    built('image-source.js')
  );
  const stepsPerEpoch = Math.ceil(dataset.splits.train.rows / batchSize);
  const epochs = Math.ceil(totalSteps / stepsPerEpoch);
  await using ahead = await openBatchesAhead(
    imageSource,
    { directory: dataset.directory, seed: 1, purpose: 'memory', batchSize },
    { epochs, examples: epochs * dataset.splits.train.rows },
  );
  const samples: Sample[] = [];
  const every = Math.max(1, Math.floor(totalSteps / 100));
  const directory = await mkdtemp(join(tmpdir(), 'kd-spec-memory-'));
  try {
    await train(
      network,
      optimizer,
      {
        seed: 1,
        epochs,
        stepsPerEpoch,
        from: 'convolutions',
        schedule: {
          kind: 'cosine',
          learningRate: 1e-3,
          warmupSteps: 100,
          totalSteps: epochs * stepsPerEpoch,
        },
        weightDecay: 0.01,
        labelSmoothing: 0,
        async *batches(epoch, skip) {
          let step = epoch * stepsPerEpoch + skip;
          for await (const batch of ahead.batches(epoch, skip)) {
            if (step % every === 0) samples.push(sample(step));
            step++;
            yield batch;
          }
        },
      },
      {
        directory,
        log: silentLog,
        signal: new AbortController().signal,
        label: name,
        checkpointSeconds: 20,
      },
    );
    samples.push(sample(epochs * stepsPerEpoch));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  return { backend: name, samples };
}

function sample(step: number): Sample {
  const { rss, heapUsed } = process.memoryUsage();
  const { numTensors, numBytes } = tf.memory();
  return { step, residentBytes: rss, heapBytes: heapUsed, tensors: numTensors, tensorBytes: numBytes };
}

/** Resident memory over steps, a line a backend. */
function figure(courses: readonly Course[]): string {
  const [width, height, left, bottom] = [640, 300, 60, 40];
  const lastStep = Math.max(...courses.flatMap(({ samples }) => samples.map(({ step }) => step)));
  const most = Math.max(...courses.flatMap(({ samples }) => samples.map((each) => each.residentBytes)));
  const top = 100 * Math.ceil(most / 2 ** 20 / 100); // MiB
  const x = (step: number) => left + ((width - left - 20) * step) / lastStep;
  const y = (mebibytes: number) => height - bottom - ((height - bottom - 20) * mebibytes) / top;
  const colours = ['#1b6ca8', '#c8553d', '#4a7c59'];
  const text = (at: [number, number], words: string, more = '') =>
    `<text x="${at[0]}" y="${at[1]}" ${more}>${words}</text>`;
  const ticks = Array.from({ length: 5 }, (_, tick) => tick / 4);
  const lines = courses.map(({ backend, samples }, index) => {
    const points = samples.map(
      (each) => `${x(each.step).toFixed(1)},${y(each.residentBytes / 2 ** 20).toFixed(1)}`,
    );
    const end = samples.at(-1)?.residentBytes ?? 0;
    return (
      `<polyline fill="none" stroke="${colours[index]}" stroke-width="1.5" points="${points.join(' ')}"/>` +
      text([width - 20, y(end / 2 ** 20) - 6], backend, `fill="${colours[index]}" text-anchor="end"`)
    );
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    '<title>Resident memory over the steps of training</title>',
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...ticks.map(
      (part) =>
        `<line x1="${left}" x2="${width - 20}" y1="${y(top * part)}" y2="${y(top * part)}" stroke="#ddd"/>` +
        text([left - 6, y(top * part) + 4], String(Math.round(top * part)), 'text-anchor="end"') +
        text(
          [x(lastStep * part), height - bottom + 16],
          String(Math.round(lastStep * part)),
          'text-anchor="middle"',
        ),
    ),
    ...lines,
    text([width / 2, height - 6], 'training steps', 'text-anchor="middle"'),
    text([left, 14], 'resident memory in MiB'),
    '</svg>\n',
  ].join('\n');
}
