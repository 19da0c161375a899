/**
 * Images a second of a training step, against what somebody would otherwise use.
 *
 *     npm run bench:training -- [--rounds 5] [--seconds 2] [--threads 2] [--without shipped,pytorch] [--json]
 *
 * Four sides train the same networks on the same batches of 128 random images: wasm as TensorFlow.js ships it (its
 * layers API, with the filter gradient that it lacks supplied), kd-spec on wasm, kd-spec on tensorflow where that
 * loads, and PyTorch (installed by scripts/torch-venv.sh; AdamW in its fused form). The last two have `--threads` threads, as
 * many as there are cores when it is left out. Each is a process of its own; they take turns, in rounds of about `--seconds`, so that other programs on the
 * machine disturb all alike. Printed are the medians of the rounds, by the wall clock and by processor time, and
 * the most memory that a process had.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeBackends } from '../../src/compute/backend.js';
import {
  batchSize,
  generalistDefinition,
  inputShape,
  type Workload,
  workloads,
} from './training/workload.js';

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    threads: { type: 'string', default: String(availableParallelism()) },
    without: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
  },
});

/** What a contestant says after its steps. */
interface Lap {
  readonly seconds: number;
  readonly processorSeconds: number;
  readonly peakBytes: number;
  readonly version?: string;
}

interface Entry {
  readonly side: string;
  readonly imagesPerSecond: number;
  readonly imagesPerProcessorSecond: number;
  readonly peakBytes: number;
}

interface Result {
  readonly name: string;
  readonly sides: readonly Entry[];
}

interface Contestant {
  readonly side: string;
  run(steps: number): Promise<Lap>;
  end(): Promise<void>;
}

const scripts = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const sides = await presentSides();
const python = sides.includes('pytorch')
  ? execFileSync(scripts('../torch-venv.sh'), { encoding: 'utf8' }).trim()
  : '';
const versions = new Set<string>();
const results: Result[] = [];
for (const [position, workload] of workloads.entries()) {
  const result = { name: workload.name, sides: await compete(position, workload) };
  results.push(result);
  if (!flags.json) print(result);
}
if (flags.json) {
  const machine = {
    processor: cpus()[0]?.model,
    cores: availableParallelism(),
    threads: Number(flags.threads),
    load: loadavg(),
  };
  console.log(JSON.stringify({ batchSize, machine, versions: [...versions], results }, null, 2));
}

async function presentSides(): Promise<readonly string[]> {
  const backends = await describeBackends();
  const hasTensorflow = backends.some(({ name, available }) => name === 'tensorflow' && available);
  const absent = new Set(flags.without.split(','));
  if (!hasTensorflow) absent.add('tensorflow');
  return ['shipped', 'wasm', 'tensorflow', 'pytorch'].filter((side) => !absent.has(side));
}

async function compete(position: number, workload: Workload): Promise<readonly Entry[]> {
  const contestants = sides.map((side) => start(side, position, workload));
  const laps = contestants.map((): { wall: number; processor: number }[] => []);
  const peaks = contestants.map(() => 0);
  const steps = contestants.map(() => 1);
  for (let round = -1; round < Number(flags.rounds); round++) {
    for (const [index, contestant] of contestants.entries()) {
      if (round < 0) await contestant.run(2); // kernels are compiled, caches filled
      const lap = await contestant.run(steps[index]);
      if (lap.version) versions.add(`PyTorch ${lap.version}`);
      peaks[index] = lap.peakBytes;
      const images = steps[index] * batchSize;
      if (round < 0)
        steps[index] = Math.max(1, Math.round((Number(flags.seconds) * steps[index]) / lap.seconds));
      else laps[index].push({ wall: images / lap.seconds, processor: images / lap.processorSeconds });
    }
  }
  for (const contestant of contestants) await contestant.end();
  return sides.map((side, index) => ({
    side,
    imagesPerSecond: median(laps[index].map(({ wall }) => wall)),
    imagesPerProcessorSecond: median(laps[index].map(({ processor }) => processor)),
    peakBytes: peaks[index],
  }));
}

function start(side: string, position: number, workload: Workload): Contestant {
  const { convolutions, kernel, dense, outputs } = generalistDefinition(workload.outputs);
  const input = inputShape(workload);
  const threads = Number(flags.threads);
  const setup = { batch: batchSize, threads, input, convolutions, kernel, dense, outputs };
  const [program, words] =
    side === 'pytorch'
      ? [python, [scripts('training/contestant.py'), JSON.stringify(setup)]]
      : [process.execPath, ['--import', 'tsx', scripts('training/contestant.ts'), side, String(position)]];
  const child: ChildProcess = spawn(program, words, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, TF_NUM_INTRAOP_THREADS: flags.threads },
  });
  if (!child.stdin || !child.stdout) throw new Error(`${side} has no pipes`);
  const { stdin } = child;
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    side,
    async run(steps) {
      stdin.write(`${steps}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error(`${side} ended before it answered`);
      return JSON.parse(value);
    },
    async end() {
      stdin.end();
      await ended;
    },
  };
}

function print({ name, sides: entries }: Result): void {
  console.log(`\n${name}`);
  for (const entry of entries) {
    const ratios = entries
      .filter((other) => other !== entry)
      .map((other) => `${(entry.imagesPerSecond / other.imagesPerSecond).toFixed(2)} of ${other.side}`);
    console.log(
      `  ${entry.side.padEnd(10)} ${Math.round(entry.imagesPerSecond)} images/s ` +
        `(${Math.round(entry.imagesPerProcessorSecond)} a processor second), ` +
        `${Math.round(entry.peakBytes / 2 ** 20)} MiB; ${ratios.join(', ')}`,
    );
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
