/**
 * Damages inputs of every kind that users bring, at random, and reads them: each must give a result or a `KdSpecError`.
 *
 *     npx tsx scripts/fuzz.ts                       # 10,000 inputs of each kind
 *     npx tsx scripts/fuzz.ts --inputs 500 --seed 7
 *     npx tsx scripts/fuzz.ts --kind PNG --first 123 --inputs 1   # one of them again; several kinds may be named
 *
 * Processes read the inputs of a kind one after the other; this one watches them. Exit code 1 when anything else
 * happened: another exception, a crash, an input that takes longer than its limit, more memory than a gigabyte, a file
 * that is left behind, or a word on the terminal.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { type FuzzOutcome, fuzz, inputKinds } from '../test/support/mutated-inputs.js';

const { values: flags } = parseArgs({
  options: {
    inputs: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
    first: { type: 'string', default: '0' },
    kind: { type: 'string', multiple: true },
    processes: { type: 'string', default: String(availableParallelism()) },
    limit: { type: 'string', default: '60' }, // seconds for an input, on a machine that may be busy
  },
});
const memoryLimitBytes = 2 ** 30;

/** What the process that reads tells the one that watches. */
type Told =
  | { readonly kind: 'ready' }
  | { readonly kind: 'begins'; readonly run: number }
  | { readonly kind: 'ended'; readonly outcome: FuzzOutcome; readonly peakBytes: number };

/** What it is told to do. */
interface Work {
  readonly kind: string;
  readonly first: number;
  readonly runs: number;
  readonly seed: number;
}

if (process.send) await readAll();
else await watchAll();

async function readAll(): Promise<void> {
  const tell = (message: Told) => process.send?.(message);
  sharp.concurrency(1); // the images are small
  const kinds = await inputKinds(await mkdtemp(join(tmpdir(), 'kinds-')));
  process.on('message', async ({ kind: name, first, runs, seed }: Work) => {
    const kind = kinds.find((candidate) => candidate.name === name);
    if (kind === undefined) throw new Error(`no kind ${name}`);
    const outcome = await fuzz(kind, { runs, seed, first, begins: (run) => tell({ kind: 'begins', run }) });
    tell({ kind: 'ended', outcome, peakBytes: process.resourceUsage().maxRSS * 1024 });
  });
  tell({ kind: 'ready' });
}

async function watchAll(): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'kd-spec-fuzz-'));
  process.env.TMPDIR = root; // of the processes that read: whatever a reader writes elsewhere lies here, too
  let defects = 0;
  let inputs = 0;
  try {
    const names = (await inputKinds(await mkdtemp(join(root, 'kinds-'))))
      .map(({ name }) => name)
      .filter((name) => flags.kind === undefined || flags.kind.includes(name));
    const begun = performance.now();
    const watchSome = async () => {
      const reader = createReader();
      for (let name = names.shift(); name !== undefined; name = names.shift()) {
        const found = await watch(reader, name);
        const added = (await readdir(root)).filter(
          (entry) => !/^(kinds-|tsx-|node-compile-cache)/.test(entry),
        );
        if (added.length > 0) found.defects.push(`files outside of the folder: ${added.join(', ')}`);
        console.log(
          `${name.padEnd(50)} ${found.runs} inputs: ${found.refused} refused, ${found.defects.length} defects; ` +
            `the slowest took ${found.slowestMs.toFixed(0)} ms, at most ${(found.peakBytes / 2 ** 30).toFixed(2)} GB`,
        );
        for (const defect of found.defects.slice(0, 5)) console.log(`  ${defect}`);
        defects += found.defects.length;
        inputs += found.runs;
      }
      reader.dispose();
    };
    await Promise.all(Array.from({ length: Number(flags.processes) }, watchSome));
    console.log(`${inputs} inputs, ${defects} defects, ${((performance.now() - begun) / 1000).toFixed(0)} s`);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
  if (defects > 0) process.exitCode = 1;
}

interface Found {
  runs: number;
  refused: number;
  slowestMs: number;
  peakBytes: number;
  readonly defects: string[];
}

/** Has all inputs of a kind read; one that hangs or kills the process is a defect, and another goes on after it. */
async function watch(reader: Reader, kind: string): Promise<Found> {
  const first = Number(flags.first);
  const end = first + Number(flags.inputs);
  const found: Found = { runs: 0, refused: 0, slowestMs: 0, peakBytes: 0, defects: [] };
  for (let next = first; next < end; ) {
    const { last, outcome, peakBytes, failure, words } = await reader.read({
      kind,
      first: next,
      runs: end - next,
      seed: Number(flags.seed),
    });
    if (outcome) {
      found.refused += outcome.refused;
      found.slowestMs = Math.max(found.slowestMs, outcome.slowestMs);
      found.defects.push(...outcome.defects.map(({ run, what }) => `run ${run}: ${what}`));
    }
    found.peakBytes = Math.max(found.peakBytes, peakBytes);
    if (peakBytes > memoryLimitBytes) found.defects.push(`${(peakBytes / 2 ** 30).toFixed(2)} GB of memory`);
    if (failure !== undefined) found.defects.push(`run ${last}: ${failure}`);
    if (words !== '') found.defects.push(`words on the terminal: ${JSON.stringify(words.slice(0, 300))}`);
    found.runs += last + 1 - next;
    next = last + 1;
  }
  return found;
}

interface ReaderOutcome {
  /** The last input that was begun. */
  readonly last: number;
  readonly outcome: FuzzOutcome | undefined;
  /** Of the process, which may have read other kinds before. */
  readonly peakBytes: number;
  readonly failure: string | undefined;
  readonly words: string;
}

interface Reader {
  read(work: Work): Promise<ReaderOutcome>;
  dispose(): void;
}

/** A process that reads, started again after it died. */
function createReader(): Reader {
  let child: ChildProcess | undefined;
  let words = '';
  const start = async () => {
    const started = fork(import.meta.filename, { silent: true, execArgv: process.execArgv });
    for (const stream of [started.stdout, started.stderr])
      stream?.on('data', (data) => {
        words += String(data);
      });
    await once(started, 'message'); // it is ready
    return started;
  };
  return {
    async read(work) {
      child ??= await start();
      const reading = child;
      words = '';
      let last = work.first;
      let beganMs = performance.now();
      let failure: string | undefined;
      const watchdog = setInterval(() => {
        if (performance.now() - beganMs < 1000 * Number(flags.limit)) return;
        failure = `it took more than ${flags.limit} s`;
        reading.kill('SIGKILL');
      }, 500);
      const ended = new Promise<Extract<Told, { kind: 'ended' }> | string>((resolve) => {
        reading.on('message', (told: Told) => {
          beganMs = performance.now();
          if (told.kind === 'begins') last = told.run;
          else if (told.kind === 'ended') resolve(told);
        });
        reading.on('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
      });
      reading.send(work);
      const how = await ended;
      clearInterval(watchdog);
      reading.removeAllListeners();
      if (typeof how !== 'string') {
        const { outcome, peakBytes } = how;
        if (peakBytes > memoryLimitBytes) {
          child.disconnect(); // its peak says nothing about the next kind
          child = undefined;
        }
        return { last, outcome, peakBytes, failure, words };
      }
      child = undefined;
      failure ??= `the process ended with ${how}`;
      return { last, outcome: undefined, peakBytes: 0, failure, words };
    },
    dispose: () => child?.disconnect(),
  };
}
