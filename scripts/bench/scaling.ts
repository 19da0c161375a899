/**
 * How training specialists scales: 61 of them with one and with two processes, what an engine costs beside the bare
 * training, and a simulation, from the times of these jobs, of up to 6,000 specialists on up to 1,000 workers.
 *
 *     npm run bench:scaling
 *     npm run bench:scaling -- --backend tensorflow --epochs 4 --repeats 2
 *
 * Works on Han characters in a folder of its own, with convolutions of 32 and 64 filters and a dense layer of 256. Every
 * process computes with one thread, whatever their number. Writes docs/results/scaling.md and .json.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { createRandom } from '../../src/core/random.js';
import { jobsFolder, readWork } from '../../src/jobs/jobs-folder.js';
import { describeMachine } from '../machine.js';
import { coordinatorTime } from './scaling/coordinator-time.js';
import {
  type Measurement,
  type ScalingResult,
  type SimulatedEngine,
  scalingPage,
} from './scaling/scaling-page.js';
import { type Scheduling, simulate } from './scaling/simulate.js';

const { values: flags } = parseArgs({
  options: {
    backend: { type: 'string', default: 'wasm' },
    classes: { type: 'string', default: '3050' },
    specialists: { type: 'string', default: '61' },
    size: { type: 'string', default: '300' },
    epochs: { type: 'string', default: '2' },
    repeats: { type: 'string', default: '1' },
    out: { type: 'string', default: join(import.meta.dirname, '..', '..', 'docs', 'results') },
  },
});
const overheadSpecialists = Math.min(4, Number(flags.specialists)); // trained by each engine for its overhead
const slotSeconds = 1; // until Slurm gives a freed place to the next task of an array: assumed, see the page
const workerCounts = [1, 2, 5, 10, 20, 50, 61, 100, 200, 500, 1000];
const many = 6000;

const home = join(import.meta.dirname, '..', '..');
const program = join(home, 'dist', 'cli', 'main.js');
const env = {
  ...process.env,
  TF_NUM_INTRAOP_THREADS: '1',
  TF_NUM_INTEROP_THREADS: '1',
  OMP_NUM_THREADS: '1',
};
const run = (...words: string[]) =>
  promisify(execFile)(process.execPath, words, { cwd: home, env, maxBuffer: 1 << 26 });

const root = await mkdtemp(join(tmpdir(), 'kd-spec-scaling-'));
try {
  const result = await measure();
  await writeFile(join(flags.out, 'scaling.md'), scalingPage(result));
  await writeFile(join(flags.out, 'scaling.json'), `${JSON.stringify(result, undefined, 2)}\n`);
  console.log(scalingPage(result));
} finally {
  await rm(root, { recursive: true, force: true });
}

async function measure(): Promise<ScalingResult> {
  const prepared = join(root, 'prepared');
  const command = [
    ...['train-specialists', '--source', 'han', '--classes', flags.classes, '--image-size', '28'],
    ...['--convolutions', '32,64', '--dense', '256', '--epochs', '1'],
    ...['--patience', 'none', '--batch-size', '128', '--specialist-batch-size', '128'],
    ...['--specialists', flags.specialists, '--size', flags.size],
    ...['--specialist-epochs', flags.epochs, '--views', '1', '--backend', flags.backend],
    ...['--json', '--quiet'],
  ];
  // Makes everything that specialists need, the shared features too, and trains none.
  await run(program, ...command, '--workspace', prepared, '--engine', 'kubernetes');
  const work = await readWork(jobsFolder(prepared));

  const overhead = JSON.parse(
    (
      await run(
        '--import',
        'tsx',
        join(import.meta.dirname, 'scaling', 'engine-overhead.ts'),
        prepared,
        String(overheadSpecialists),
      )
    ).stdout,
  );
  const ownProcess = await secondsOf(async () => {
    for (let position = 0; position < overheadSpecialists; position++) {
      await run(program, 'jobs', 'train', '--workspace', prepared, '--position', String(position), '--quiet');
    }
  });
  for (const { id } of work.subsets)
    await rm(join(work.directory, String(id)), { recursive: true, force: true });

  const measurements: Measurement[] = [];
  let jobSeconds: number[] = [];
  for (let repeat = 0; repeat < Number(flags.repeats); repeat++) {
    for (const processes of [1, 2]) {
      const workspace = join(root, `with-${processes}`);
      await rm(workspace, { recursive: true, force: true });
      await cp(prepared, workspace, { recursive: true, preserveTimestamps: true });
      let stdout = '';
      const processorBefore = childProcessorSeconds();
      const seconds = await secondsOf(async () => {
        ({ stdout } = await run(
          program,
          ...command,
          '--workspace',
          workspace,
          '--engine',
          'local',
          ...(processes === 1 ? [] : ['--parallel', String(processes)]), // one: the command itself
        ));
      });
      const processorSeconds =
        processorBefore === null ? null : (childProcessorSeconds() ?? 0) - processorBefore;
      const { sharedSeconds } = JSON.parse(stdout);
      const manifests = await Promise.all(
        work.subsets.map(({ id }) =>
          readFile(join(workspace, 'specialists', String(id), 'manifest.json'), 'utf8'),
        ),
      );
      const jobs = manifests.map((text): number => JSON.parse(text).seconds);
      if (processes === 1) jobSeconds = jobs;
      measurements.push({ processes, seconds, sharedSeconds, processorSeconds, jobSeconds: jobs });
      console.error(`${processes} processes: ${seconds.toFixed(1)} s`);
    }
  }

  const finished = { ...work, directory: join(root, 'with-1', 'specialists') };
  const coordinator = await coordinatorTime(finished, many);
  const bare: number = overhead.bare / overheadSpecialists;
  const engines = [
    ...Object.entries<number>(overhead).map(([name, seconds]) => ({
      name,
      perSpecialist: seconds / overheadSpecialists,
    })),
    { name: 'a process for each job (Slurm, Kubernetes)', perSpecialist: ownProcess / overheadSpecialists },
  ];
  const extra = (name: string) =>
    Math.max(0, (engines.find((engine) => engine.name === name)?.perSpecialist ?? bare) - bare);
  const poolStart = extra('a pool of one process') * overheadSpecialists; // nearly all of it is the start of the process
  const processStart = extra('a process for each job (Slurm, Kubernetes)');
  const afterLast = (jobs: number) => jobs * coordinator.perArtefact;
  const schedulings: Record<string, (jobs: number) => Scheduling> = {
    'this machine, a pool': (jobs) => ({
      beforeFirst: 0,
      workerStart: poolStart,
      perJob: 0,
      coordinatorPerJob: coordinator.perJob,
      afterLast: afterLast(jobs),
    }),
    Slurm: (jobs) => ({
      beforeFirst: jobs * coordinator.slurmSubmit,
      workerStart: 0,
      perJob: processStart + slotSeconds,
      coordinatorPerJob: 0, // Slurm hands out; the coordinator only looks
      afterLast: jobs * coordinator.slurmLook + afterLast(jobs),
    }),
    Kubernetes: (jobs) => ({
      beforeFirst: 0,
      workerStart: 0,
      perJob: processStart + slotSeconds,
      coordinatorPerJob: 0,
      afterLast: afterLast(jobs),
    }),
  };
  const random = createRandom('scaling', 1);
  const drawn = Array.from({ length: many }, () => jobSeconds[random.below(jobSeconds.length)]);
  const simulations = Object.entries(schedulings).map(
    ([engine, scheduling]): SimulatedEngine => ({
      engine,
      runs: [jobSeconds, drawn].map((jobs) => ({
        specialists: jobs.length,
        workers: workerCounts.map((workers) => simulate(jobs, workers, scheduling(jobs.length))),
      })),
    }),
  );
  return {
    command: [
      'npm run bench:scaling',
      ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : []),
    ].join(' '),
    machine: describeMachine(1),
    backend: flags.backend,
    classes: Number(flags.classes),
    specialists: work.subsets.length,
    size: Number(flags.size),
    measurements,
    engines,
    slotSeconds,
    coordinator,
    simulations,
  };
}

async function secondsOf(action: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await action();
  return (performance.now() - startMs) / 1000;
}

/** User and system time of all child processes that have ended, and of theirs; null where /proc does not tell. */
function childProcessorSeconds(): number | null {
  if (process.platform !== 'linux') return null;
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // from the third on, in proc(5)'s numbers
  return (Number(fields[16 - 3]) + Number(fields[17 - 3])) / 100;
}
