import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Field, Float32, Int32, List, Table, tableToIPC, vectorFromArray } from 'apache-arrow';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { selectBackend } from '../src/compute/backend.js';
import { readManifest } from '../src/core/artefact.js';
import { type Log, silentLog } from '../src/core/log.js';
import { packageFolder } from '../src/core/package.js';
import { openDataset } from '../src/data/dataset.js';
import { countLabels } from '../src/data/label-counts.js';
import { shareFeatures } from '../src/ensemble/specialist/shared-features.js';
import { readSubsets } from '../src/ensemble/subsets/subsets-file.js';
import type { Engine, JobEnd, JobEvent } from '../src/jobs/engine.js';
import type { SlurmOptions } from '../src/jobs/slurm/slurm-options.js';
import type { SpecialistWork } from '../src/jobs/specialist-work.js';
import { jobsFolder } from '../src/jobs/work-file.js';
import { loadGeneralist } from '../src/models/checkpoint.js';
import { kdSpec, type Running, startKdSpec } from './fixtures/command-line.js';
import { sabotage } from './fixtures/sabotage.js';
import { tinyFolder } from './fixtures/tiny-workspace.js';

/** The folder of the Slurm that scripts/slurm-test.sh starts; where there is none, its engine is left out. */
const slurm = process.env.KD_SPEC_TEST_SLURM ?? '';

async function onSlurm(options: Partial<SlurmOptions> = {}): Promise<Engine> {
  process.env.SLURM_CONF = join(slurm, 'slurm.conf');
  const { createSlurm }: typeof import('../src/jobs/slurm/slurm-engine.js') = await import(
    built('slurm/slurm-engine.js')
  );
  const { trainingCommand }: typeof import('../src/jobs/training-command.js') = await import(
    built('training-command.js')
  );
  const workspace = join(root, 'workspace-of-slurm');
  const none = { partition: null, account: null, time: null, memory: null, atMost: null, setup: null };
  const asked = { ...none, cpus: 1, gpus: 0, options: null, ...options };
  return createSlurm(jobsFolder(workspace), trainingCommand(workspace), asked, { pollMs: 500 });
}

const plenty = { workers: 2, memoryMegabytes: 4096 };

/** The engine that leaves its jobs to others, and these: a process each, as Kubernetes would start them. */
async function startedByHand(): Promise<Engine> {
  const { createManualEngine }: typeof import('../src/jobs/manual-engine.js') = await import(
    built('manual-engine.js')
  );
  const workspace = join(root, 'workspace-by-hand');
  const engine = createManualEngine(jobsFolder(workspace), 'hands', { pollMs: 100 });
  const words = ['jobs', 'train', '--workspace', workspace, '--position'];
  return {
    ...engine,
    async open(work, options) {
      const jobs = await engine.open(work, options);
      const running = new Set<Running>();
      const start = (position: number, triesLeft: number) => {
        const job = startKdSpec([...words, String(position)], { folder: root });
        running.add(job);
        job.finished.then(({ code }) => {
          running.delete(job);
          if (code !== 0 && code !== 75 && triesLeft > 0) start(position, triesLeft - 1);
        });
      };
      return {
        submit: async (positions) => {
          await jobs.submit(positions);
          for (const position of positions) start(position, 2);
        },
        cancel: async () => {
          for (const { child } of running) child.kill('SIGTERM');
          await Promise.all([...running].map(({ finished }) => finished));
          await jobs.cancel();
        },
        [Symbol.asyncDispose]: () => jobs[Symbol.asyncDispose](),
      };
    },
  };
}

/** One contract, run over every engine: who trains a specialist makes no difference. */
const built = (path: string) => pathToFileURL(join(packageFolder(), 'dist', 'jobs', path)).href;
const engines: Readonly<Record<string, () => Promise<Engine>>> = {
  'this process': async () => {
    const { inProcess }: typeof import('../src/jobs/in-process.js') = await import(built('in-process.js'));
    return inProcess;
  },
  'a pool of two processes': async () => {
    const { createPool }: typeof import('../src/jobs/pool/pool.js') = await import(built('pool/pool.js'));
    return createPool(plenty, { hangSeconds: 900 });
  },
  'jobs started by hand': startedByHand,
  ...(slurm === '' ? {} : { Slurm: onSlurm }),
};
const alone = 'this process'; // the engine whose jobs cannot end without their coordinator
const silent = 'jobs started by hand'; // the engine that does not hear how jobs ended

const signal = new AbortController().signal;
const train = async (engine: Engine, work: SpecialistWork, abort = signal, log: Log = silentLog) => {
  const { trainMissing }: typeof import('../src/jobs/train-missing.js') = await import(
    built('train-missing.js')
  );
  return trainMissing(engine, work, { log, signal: abort });
};

let root: string;
let workOf: (directory: string) => SpecialistWork;
const barren = 1; // the subset that is said to have no training examples

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-jobs-'));
  const workspace = join(await tinyFolder(), 'kd-workspace');
  const [generalist, dataset] = [join(workspace, 'generalist'), join(workspace, 'dataset')];
  const { subsets } = await readSubsets(join(workspace, 'subsets', 'subsets.json'));
  const { splits, classes } = await openDataset(dataset);
  const labelCounts = [...(await countLabels(splits.train, classes.length))];
  const inputs = {
    generalist: (await readManifest(generalist)).digest,
    dataset: (await readManifest(dataset)).digest,
  };
  const { parameters } = await readManifest(join(workspace, 'specialists', '0'));
  const features = { folder: join(root, 'features'), views: 1 };
  await selectBackend('wasm');
  await shareFeatures(
    features,
    { generalist: await loadGeneralist(generalist), dataset: await openDataset(dataset), seed: 1 },
    { from: 'dense', withPredictions: false, log: silentLog, signal },
  );
  workOf = (directory) => ({
    directory,
    generalist,
    dataset,
    inputs,
    subsets,
    labelCounts,
    features,
    training: {
      retrain: 'top',
      epochs: 1,
      batchSize: Number(parameters.batchSize),
      specialFraction: 0.5,
      learningRate: 0.001,
      weightDecay: 0,
      labelSmoothing: 0,
      views: 1,
      routedShare: 0,
      softShare: 0,
      seed: 1,
      checkpointSeconds: 60,
    },
    backend: 'wasm',
  });
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** The files of a specialist that decide its answers. */
const bytesOf = async (directory: string, id: number) =>
  Promise.all(
    ['model.safetensors', 'config.json'].map((name) => readFile(join(directory, String(id), name), 'base64')),
  );

/** One specialist, and training enough to do something to it meanwhile. */
function longWork(directory: string): SpecialistWork {
  const work = workOf(directory);
  const training = { ...work.training, epochs: 400, checkpointSeconds: 1 };
  return { ...work, subsets: [work.subsets[0]], training };
}

/** The process that trains specialist 0 in a folder, once it has trained for some epochs. */
async function trainingProcess(directory: string): Promise<number> {
  const partial = join(directory, '.partial');
  for (let look = 0; look < 2000; look++) {
    const metrics = await readFile(join(partial, '0', 'metrics.jsonl'), 'utf8').catch(() => '');
    const lock = await readFile(join(partial, '0.lock', '.lock'), 'utf8').catch(() => '');
    if (metrics.split('\n').length > 3 && lock !== '') return JSON.parse(lock).pid;
    await wait(20);
  }
  throw new Error('nothing trains');
}

/** A log that keeps warnings. */
function warningsLog(): { readonly log: Log; readonly warnings: string[] } {
  const warnings: string[] = [];
  return { warnings, log: { ...silentLog, warn: (message) => warnings.push(message) } };
}

/** The specialist of {@link longWork} as a run that nobody disturbs makes it. */
let undisturbed: Promise<readonly string[]> | undefined;
const expectedBytes = () => {
  undisturbed ??= (async () => {
    const directory = join(root, 'undisturbed');
    await train(await engines[alone](), longWork(directory));
    return bytesOf(directory, 0);
  })();
  return undisturbed;
};

describe.each(Object.keys(engines))('an engine: %s', { timeout: 120_000 }, (name) => {
  const directory = () => join(root, name.replaceAll(' ', '-'));

  test('lets a subset without training examples fail alone', async () => {
    const engine = await engines[name]();
    const work = workOf(directory());
    const labelCounts = work.labelCounts.map((count, label) =>
      work.subsets[barren].classes.includes(label) ? 0 : count,
    );
    const { done, failed } = await train(engine, { ...work, labelCounts });
    expect(done.map(({ id, wasDone }) => ({ id, wasDone })).toSorted((a, b) => a.id - b.id)).toEqual([
      { id: 0, wasDone: false },
      { id: 2, wasDone: false },
    ]);
    expect(failed).toEqual([{ id: barren, reason: expect.stringContaining(`subset ${barren}`) }]);
    expect((await readdir(directory())).filter((entry) => !entry.startsWith('.')).sort()).toEqual(['0', '2']);
  });

  test('trains what is missing when it is asked again, and nothing else', async () => {
    const engine = await engines[name]();
    const { done, failed } = await train(engine, workOf(directory()));
    expect(failed).toEqual([]);
    expect(done.toSorted((a, b) => a.id - b.id)).toEqual([
      { id: 0, seconds: 0, wasDone: true },
      { id: barren, seconds: expect.any(Number), wasDone: false },
      { id: 2, seconds: 0, wasDone: true },
    ]);
  });

  test('trains again what was made with other settings', async () => {
    const engine = await engines[name]();
    const work = workOf(directory());
    const before = await bytesOf(directory(), 0);
    const training = { ...work.training, learningRate: 0.002 };
    const { done } = await train(engine, { ...work, training, subsets: [work.subsets[0]] });
    expect(done.map(({ wasDone }) => wasDone)).toEqual([false]);
    expect(await bytesOf(directory(), 0)).not.toEqual(before);
    await train(engine, { ...work, subsets: [work.subsets[0]] });
    expect(await bytesOf(directory(), 0)).toEqual(before);
  });

  test('trains again what was torn, and nothing else', async () => {
    const whole = await bytesOf(directory(), 2);
    const model = join(directory(), '2', 'model.safetensors');
    await truncate(model, (await stat(model)).size - 10);
    const { done } = await train(await engines[name](), workOf(directory()));
    expect(done.filter(({ wasDone }) => !wasDone).map(({ id }) => id)).toEqual([2]);
    expect(await bytesOf(directory(), 2)).toEqual(whole);
  });

  test('goes on with what an earlier coordinator left under way', async () => {
    const work = longWork(`${directory()}-left`);
    {
      const engine = await engines[name]();
      await using jobs = await engine.open(work, { log: silentLog, listener: () => {} });
      await jobs.submit([0]);
      await trainingProcess(work.directory);
    }
    const { log, warnings } = warningsLog();
    const { failed } = await train(await engines[name](), work, signal, log);
    expect({ failed, warnings }).toEqual({ failed: [], warnings: [] });
    expect(await bytesOf(work.directory, 0)).toEqual(await expectedBytes());
  });

  test.skipIf(name === alone)('tries a job again that crashed', async () => {
    const work = longWork(`${directory()}-crashed`);
    const { log, warnings } = warningsLog();
    const training = train(await engines[name](), work, signal, log);
    process.kill(await trainingProcess(work.directory), 'SIGKILL');
    expect((await training).done).toMatchObject([{ id: 0, wasDone: false }]);
    const expected = name === silent ? [] : [expect.stringMatching(/^specialist 0: its .*; trying again$/)];
    expect(warnings).toEqual(expected);
    expect(await bytesOf(work.directory, 0)).toEqual(await expectedBytes());
  });

  test('stops when it is told to', async () => {
    const engine = await engines[name]();
    const work = workOf(join(root, 'never'));
    await expect(train(engine, work, AbortSignal.abort())).rejects.toMatchObject({
      code: 'specialists-stopped',
    });
  });

  test('cancels a job, which keeps its checkpoint, and goes on with it when it is submitted again', async () => {
    const work = longWork(`${directory()}-cancelled`);
    const ends: JobEnd[] = [];
    {
      const engine = await engines[name]();
      const listener = (event: JobEvent) => {
        if (event.kind === 'ended') ends.push(event.end);
      };
      await using jobs = await engine.open(work, { log: silentLog, listener });
      await jobs.submit([0]);
      await trainingProcess(work.directory);
      await jobs.cancel();
    }
    expect(ends).toEqual(name === silent ? [] : [{ kind: 'stopped' }]);
    const kept = await readdir(join(work.directory, '.partial', '0', 'checkpoints'));
    expect(kept.length).toBeGreaterThanOrEqual(1);
    expect((await train(await engines[name](), work)).done).toMatchObject([{ id: 0, wasDone: false }]);
    expect(await bytesOf(work.directory, 0)).toEqual(await expectedBytes());
  });
});

describe('a pool', { timeout: 120_000 }, () => {
  const pool = async (share: Partial<typeof plenty>, hangSeconds = 900) => {
    const { createPool }: typeof import('../src/jobs/pool/pool.js') = await import(built('pool/pool.js'));
    return createPool({ ...plenty, ...share }, { hangSeconds });
  };
  /** Has the workers that start from now on run some text when they are told to train the barren position. */
  const spoil = async (name: string, text: string) => {
    vi.stubEnv('NODE_OPTIONS', await sabotage(join(root, `${name}.mjs`), barren, text));
  };
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  test('ends a worker that computes without progress past the limit, and another trains its specialist', async () => {
    const once = 'if (!existsSync(mark)) { writeFileSync(mark, ""); for (;;); }';
    await spoil('hang', once);
    const { log, warnings } = warningsLog();
    const work = workOf(join(root, 'pool-hung'));
    const { done, failed } = await train(await pool({}, 5), work, signal, log);
    expect(failed).toEqual([]);
    expect(done.map(({ id }) => id).sort()).toEqual([0, 1, 2]);
    expect(warnings).toEqual([
      `specialist ${barren}: its process made no progress for 5 s and was ended (--hang-seconds sets the limit); trying again`,
    ]);
  });

  test('ends a worker that was suspended, too', async () => {
    const { log, warnings } = warningsLog();
    const work = longWork(join(root, 'pool-suspended'));
    const training = train(await pool({}, 5), work, signal, log);
    process.kill(await trainingProcess(work.directory), 'SIGSTOP');
    expect((await training).failed).toEqual([]);
    expect(warnings).toEqual([expect.stringContaining('made no progress for 5 s')]);
    expect(await bytesOf(work.directory, 0)).toEqual(await expectedBytes());
  });

  test('tries a specialist that crashes its worker twice more, and trains the others', async () => {
    await spoil('crash', 'process.exit(9)');
    const { log, warnings } = warningsLog();
    const { done, failed } = await train(await pool({}), workOf(join(root, 'pool-crash')), signal, log);
    expect(done.map(({ id }) => id).sort()).toEqual([0, 2]);
    const reason = 'its process ended with exit code 9';
    expect(failed).toEqual([{ id: barren, reason: `lost 3 times, the last time because ${reason}` }]);
    expect(warnings).toEqual(Array(2).fill(`specialist ${barren}: ${reason}; trying again`));
  });

  test.runIf(process.platform === 'linux')(
    'ends a worker that takes more memory than its share',
    async () => {
      await spoil('hog', 'globalThis.hog = Buffer.alloc(600_000_000, 1); for (;;);');
      const work = workOf(join(root, 'pool-hog'));
      const { done, failed } = await train(await pool({ memoryMegabytes: 500 }), work);
      expect(done.map(({ id }) => id).sort()).toEqual([0, 2]);
      expect(failed).toEqual([
        {
          id: barren,
          reason: expect.stringMatching(
            /^lost 3 times, the last time because its process was ended for its memory: \d+ MB, of a share of 500 MB /,
          ),
        },
      ]);
    },
  );

  test('gives a worker a JavaScript heap of its share', async () => {
    await spoil('heap', 'const list = []; for (;;) list.push(new Array(1000).fill({}).map(() => ({})));');
    const work = workOf(join(root, 'pool-heap'));
    const { failed } = await train(await pool({ memoryMegabytes: 128 }), work);
    expect(failed).toEqual([
      { id: barren, reason: expect.stringMatching(/SIGABRT|SIGTRAP|exit code 13\d|for its memory/) },
    ]);
  });

  test('tells how far each specialist is, and is silent about those that are over', async () => {
    const bars: string[] = [];
    const log: Log = {
      ...silentLog,
      progress: (label, total, { isPassing = false } = {}) => {
        const note = (text: string) =>
          bars.push(`${label}${isPassing ? ' (passing)' : ''}: ${text} of ${total}`);
        return { update: (done) => note(String(done)), finish: () => note('finished') };
      },
    };
    await train(await pool({}), workOf(join(root, 'pool-bars')), signal, log);
    const steps = (id: number) => bars.filter((text) => text.startsWith(`specialist ${id} (passing): `));
    for (const id of [0, 1, 2]) {
      expect(steps(id)[0]).toMatch(/: 0 of [1-9]\d*$/);
      expect(steps(id).at(-1)).toMatch(/: finished of/);
    }
    expect(bars.at(-1)).toBe('specialists: finished of 3');
  });
});

test.skipIf(slurm === '')(
  'a Slurm job that hangs past its limit is ended by it, and tried again',
  { timeout: 300_000 },
  async () => {
    const work = longWork(join(root, 'hung'));
    const mark = join(root, 'hung-once');
    const hang = `[ -e '${mark}' ] || { touch '${mark}'; trap '' TERM USR1; sleep 1000; }`;
    const { log, warnings } = warningsLog();
    const { done } = await train(await onSlurm({ time: '1', setup: hang }), work, signal, log);
    expect(done).toMatchObject([{ id: 0, wasDone: false }]);
    expect(warnings).toEqual([
      expect.stringMatching(/its Slurm job on node\d reached its time limit: .*; trying again$/),
    ]);
    expect(await bytesOf(work.directory, 0)).toEqual(await expectedBytes());
  },
);

test('all engines leave the same bytes', async () => {
  const [one, ...others] = Object.keys(engines).map((name) => join(root, name.replaceAll(' ', '-')));
  for (const other of others) {
    for (const id of [0, 1, 2]) expect(await bytesOf(other, id)).toEqual(await bytesOf(one, id));
  }
});

test('the command ends with 1 and a list of the specialists that failed, the others being kept', async () => {
  const folder = join(root, 'pictures');
  const classes = 7;
  const empty = 6; // a class whose folder is empty
  for (let label = 0; label < classes; label++) {
    await mkdir(join(folder, 'data', 'train', `class ${label}`), { recursive: true });
    for (let copy = 0; copy < 8 && label !== empty; copy++) {
      const background = { r: label * 40, g: copy * 20, b: 90 };
      await sharp({ create: { width: 8, height: 8, channels: 3, background } })
        .png()
        .toFile(join(folder, 'data', 'train', `class ${label}`, `${copy}.png`));
    }
  }
  const groups = [[0, 1, 2], [3, 4, 5], [empty]];
  const rows = Array.from({ length: 60 }, (_, row) => groups[row % groups.length]);
  const list = <T extends Int32 | Float32>(type: T) => new List(new Field('item', type, true));
  const table = new Table({
    indices: vectorFromArray(rows, list(new Int32())),
    probabilities: vectorFromArray(
      rows.map((row) => row.map(() => 1 / row.length)),
      list(new Float32()),
    ),
  });
  await writeFile(join(folder, 'rows.arrow'), tableToIPC(table, 'file'));

  const words = '--source data --image-size 8 --epochs 1 --convolutions 4 --dense 8 --predictions rows.arrow';
  const subsets = '--clusters 3 --min-size 1 --specialist-epochs 1 --views 1 --parallel 2 --quiet';
  const ended = await kdSpec(['train-specialists', ...`${words} ${subsets}`.split(' ')], { folder });
  expect(ended).toMatchObject({ code: 1, stdout: '' });
  expect(ended.stderr).toMatch(
    /error: 1 of 3 specialists failed; the others are kept and --resume tries these again:\n {2}specialist \d: subset \d \(1 classes\) holds 0 of the 36 training examples/,
  );
  expect(ended.stderr).toMatch(/\ncode: job-failed\n$/);
  const kept = await readdir(join(folder, 'kd-workspace', '.partial', 'specialists'));
  expect(kept.filter((entry) => /^\d$/.test(entry))).toHaveLength(2);
});
