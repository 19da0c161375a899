/** What `scripts/gpu-check.sh` runs; see there. */
import { type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs, stripVTControlCharacters } from 'node:util';
import { type BackendDescription, describeBackends } from '../../src/compute/backend.js';
import type { Workload } from './rate.js';

const { values: flags } = parseArgs({
  options: {
    out: { type: 'string', default: 'gpu-check.json' },
    seconds: { type: 'string', default: '330' },
    backends: { type: 'string' },
    tiny: { type: 'boolean', default: false },
  },
});

interface Rate {
  readonly name: string;
  readonly imagesPerSecond: number;
  readonly device?: string | null;
  readonly memoryBytes?: number;
}
type Outcome<T> = { readonly ok: true; readonly seconds: number; readonly result: T } | Failure;
interface Failure {
  readonly ok: false;
  readonly seconds: number;
  readonly reason: string;
}

const started = performance.now();
const left = () => Number(flags.seconds) - (performance.now() - started) / 1000;
const say = (line: string) =>
  console.error(`[${((performance.now() - started) / 1000).toFixed(0)} s] ${line}`);
const program = 'dist/cli/main.js';
const perRate = flags.tiny ? 1 : 3; // seconds

const workloads: readonly Workload[] = [
  ...[1000, 15_000].map((outputs) =>
    workload(`generalist, ${outputs.toLocaleString('en')} classes`, outputs, 'convolutions'),
  ),
  workload('specialist, 300 of 1,000', 301, 'dense'),
  workload('specialist, 300 of 15,000, all layers', 301, 'convolutions'),
];

const backends = await describeBackends();
const wanted = flags.backends?.split(',') ?? ['webgpu', 'tensorflow-gpu'];
const there = wanted.filter((name) => backends.some((one) => one.name === name && one.available));
const folder = await mkdtemp(join(tmpdir(), 'kd-spec-gpu-'));
try {
  const doctor = run(process.execPath, [program, 'doctor', '--json'], 30);
  const rates: Record<string, Outcome<readonly Rate[]>> = {};
  const contract: Record<string, Outcome<string>> = {};
  for (const backend of there) {
    say(`${backend}: training rates`);
    rates[backend] = await ratesOn(backend, backend === 'webgpu' ? 60 : 45);
  }
  say('PyTorch: training rates');
  rates.pytorch = await ratesOf(
    process.env.PYTHON ?? 'python3',
    ['scripts/gpu/torch_rate.py', String(perRate), JSON.stringify(workloads)],
    60,
  );
  if (!flags.tiny) {
    say('wasm: training rates');
    rates.wasm = await ratesOn('wasm', 30, workloads.slice(0, 2));
  }
  say('from nothing to the report');
  const pipeline = there.length > 0 ? await pipelineOn(there[0]) : missing('no GPU backend');
  for (const backend of there) {
    say(`${backend}: the contract of the backends`);
    contract[backend] = await contractOn(backend);
  }
  say('two workers at a time');
  const workers = there.length > 0 ? await twoWorkers(there[0]) : missing('no GPU backend');
  const report = {
    machine: {
      platform: `${process.platform}-${process.arch}`,
      node: process.versions.node,
      processor: cpus()[0]?.model,
      cores: availableParallelism(),
      memoryBytes: totalmem(),
      gpu: firstLine('nvidia-smi', ['--query-gpu=name,driver_version,memory.total', '--format=csv,noheader']),
    },
    seconds: (performance.now() - started) / 1000,
    doctor: (await doctor).ok
      ? JSON.parse(((await doctor) as { readonly result: string }).result)
      : await doctor,
    rates,
    pipeline,
    contract,
    workers,
  };
  await writeFile(flags.out, `${JSON.stringify(report, undefined, 2)}\n`);
  console.log(tableOf(backends, report));
  console.log(`\n${flags.out} has it as JSON`);
  process.exitCode = there.length > 0 && Object.values(contract).every(({ ok }) => ok) ? 0 : 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}

function workload(name: string, outputs: number, from: Workload['from']): Workload {
  const [convolutions, dense, side] = flags.tiny ? [[4, 8], [16], 12] : [[32, 64], [256], 28];
  const input = { height: side, width: side, channels: 1 } as const;
  const definition = {
    input,
    convolutions,
    kernel: 3,
    dense,
    normalisation: 'batch',
    dropout: 0,
    outputs,
  } as const;
  return { name, batch: flags.tiny ? 16 : 128, from, definition };
}

async function ratesOn(
  backend: string,
  seconds: number,
  some = workloads,
): Promise<Outcome<readonly Rate[]>> {
  const parameters = [
    '--import',
    'tsx',
    'scripts/gpu/rate.ts',
    backend,
    String(perRate),
    JSON.stringify(some),
  ];
  return ratesOf(process.execPath, parameters, seconds);
}

/** What had been measured when the time was up counts, too. */
async function ratesOf(
  command: string,
  parameters: readonly string[],
  seconds: number,
): Promise<Outcome<readonly Rate[]>> {
  const outcome = await run(command, parameters, seconds);
  const text = outcome.ok ? outcome.result : (outcome.output ?? '');
  const lines = text.split('\n').filter((line) => line.startsWith('{'));
  if (lines.length === 0 && !outcome.ok) return outcome;
  return { ok: true, seconds: outcome.seconds, result: lines.map((line) => JSON.parse(line) as Rate) };
}

/** `jft-like-15k`, with as many images a class as the time allows. */
async function pipelineOn(backend: string): Promise<Outcome<object>> {
  const size = flags.tiny
    ? [
        '--classes',
        '60',
        '--images-per-class',
        '20',
        '--specialists',
        '3',
        '--size',
        '12',
        '--image-size',
        '12',
        '--epochs',
        '1',
      ]
    : ['--images-per-class', '12', '--specialists', '8', '--epochs', '1'];
  const parameters = [
    'run',
    'pipelines/jft-like-15k.yaml',
    '--backend',
    backend,
    '--workspace',
    join(folder, 'pipeline'),
  ];
  const outcome = await run(
    process.execPath,
    [program, ...parameters, ...size, '--specialist-epochs', '1', '--quiet', '--json'],
    Math.max(60, left() - 90),
  );
  if (!outcome.ok) return outcome;
  const { stages } = JSON.parse(outcome.result) as {
    readonly stages: Readonly<Record<string, { readonly seconds: number; readonly backend: string | null }>>;
  };
  const seconds = Object.entries(stages).map(([name, made]) => [
    name,
    { seconds: made.seconds, backend: made.backend },
  ]);
  return { ok: true, seconds: outcome.seconds, result: Object.fromEntries(seconds) };
}

/** The suite of the contract, in the time that is left. */
async function contractOn(backend: string): Promise<Outcome<string>> {
  const env = { TEST_NATIVE: backend };
  const vitest = 'node_modules/vitest/vitest.mjs';
  if (!existsSync(vitest)) return missing('vitest is not installed');
  const parameters = [
    vitest,
    'run',
    ...(flags.tiny ? ['src/compute/webgpu'] : ['src/compute', 'test/contract']),
    '--maxWorkers=2',
  ];
  const outcome = await run(process.execPath, parameters, Math.max(60, left() - 30), {
    env: { ...process.env, ...env },
  });
  const text = outcome.ok ? outcome.result : (outcome.output ?? '');
  const summary = text.split('\n').find((line) => /Tests .*(passed|failed)/.test(line));
  const plain = stripVTControlCharacters(summary ?? '').trim();
  if (outcome.ok) return { ok: true, seconds: outcome.seconds, result: plain };
  return { ...outcome, reason: plain || outcome.reason };
}

/** Two processes that train the generalist of 15,000 classes side by side, and what memory they take. */
async function twoWorkers(backend: string): Promise<Outcome<object>> {
  const both = [1, 2].map(() => ratesOn(backend, 60, workloads.slice(1, 2)));
  const memory = sampleGpuMemory();
  const outcomes = await Promise.all(both);
  const gpuMegabytes = memory();
  const failure = outcomes.find((outcome) => !outcome.ok);
  if (failure && !failure.ok) return failure;
  const rates = outcomes.flatMap((outcome) => (outcome.ok ? outcome.result : []));
  return {
    ok: true,
    seconds: Math.max(...outcomes.map(({ seconds }) => seconds)),
    result: {
      imagesPerSecond: rates.map(({ imagesPerSecond }) => imagesPerSecond),
      hostBytes: rates.map(({ memoryBytes }) => memoryBytes),
      gpuMegabytes,
    },
  };
}

/** The most memory of the GPU that is taken while it is looked at, where nvidia-smi tells. */
function sampleGpuMemory(): () => number | null {
  let most: number | null = null;
  const look = () => {
    const used = Number(
      firstLine('nvidia-smi', ['--query-gpu=memory.used', '--format=csv,noheader,nounits']),
    );
    if (Number.isFinite(used) && used > 0) most = Math.max(most ?? 0, used);
  };
  const timer = setInterval(look, 500);
  return () => {
    clearInterval(timer);
    return most;
  };
}

type Ran =
  | { readonly ok: true; readonly seconds: number; readonly result: string }
  | (Failure & { readonly output?: string });

/** Runs a program for so many seconds at most. */
function run(
  command: string,
  parameters: readonly string[],
  seconds: number,
  options: SpawnOptions = {},
): Promise<Ran> {
  const begun = performance.now();
  const child = spawn(command, [...parameters], { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let [output, messages] = ['', ''];
  child.stdout?.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    messages += chunk;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 1000 * seconds);
  return new Promise((resolve) => {
    const end = (reason: string | undefined) => {
      clearTimeout(timer);
      const took = (performance.now() - begun) / 1000;
      if (reason === undefined) resolve({ ok: true, seconds: took, result: output });
      else resolve({ ok: false, seconds: took, reason, output });
    };
    child.once('error', (error) => end(error.message));
    child.once('close', (code, signal) => {
      const last = messages.trim().split('\n').slice(-3).join(' ').slice(-400);
      end(
        code === 0
          ? undefined
          : signal
            ? `stopped after ${seconds.toFixed(0)} s`
            : `exit code ${code}: ${last}`,
      );
    });
  });
}

function firstLine(command: string, parameters: readonly string[]): string | null {
  const { status, stdout } = spawnSync(command, parameters, { encoding: 'utf8' });
  return status === 0 ? (stdout.trim().split('\n')[0] ?? null) : null;
}

function missing(reason: string): Failure {
  return { ok: false, seconds: 0, reason };
}

function tableOf(
  backends: readonly BackendDescription[],
  {
    machine,
    seconds,
    rates,
    pipeline,
    contract,
    workers,
  }: {
    readonly machine: { readonly gpu: string | null; readonly processor: string | undefined };
    readonly seconds: number;
    readonly rates: Readonly<Record<string, Outcome<readonly Rate[]>>>;
    readonly pipeline: Outcome<object>;
    readonly contract: Readonly<Record<string, Outcome<string>>>;
    readonly workers: Outcome<object>;
  },
): string {
  const sides = Object.keys(rates);
  const cell = (side: string, name: string) => {
    const outcome = rates[side];
    if (!outcome.ok) return '-';
    const rate = outcome.result.find((one) => one.name === name);
    return rate ? Math.round(rate.imagesPerSecond).toLocaleString('en') : '-';
  };
  const because = (outcome: Outcome<unknown>) => (outcome.ok ? 'ok' : `no: ${outcome.reason}`);
  return [
    `GPU: ${machine.gpu ?? 'nvidia-smi tells of none'}; processor: ${machine.processor}; ${seconds.toFixed(0)} s`,
    ...backends.map(
      ({ name, available, reason }) => `${name}: ${available ? 'usable' : 'not usable'}, ${reason}`,
    ),
    '',
    `| images a second | ${sides.join(' | ')} |`,
    `| --- | ${sides.map(() => '---:').join(' | ')} |`,
    ...workloads.map(({ name }) => `| ${name} | ${sides.map((side) => cell(side, name)).join(' | ')} |`),
    '',
    ...sides.flatMap((side) => {
      const outcome = rates[side];
      return outcome.ok
        ? `${side}: ${outcome.result[0]?.device ?? 'the processor'}`
        : `${side}: ${outcome.reason}`;
    }),
    ...Object.entries(contract).map(
      ([name, outcome]) => `contract on ${name}: ${outcome.ok ? outcome.result : because(outcome)}`,
    ),
    `pipeline to its report: ${because(pipeline)}, ${pipeline.seconds.toFixed(0)} s`,
    `two workers: ${workers.ok ? JSON.stringify(workers.result) : because(workers)}`,
  ].join('\n');
}
