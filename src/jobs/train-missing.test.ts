import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Log, silentLog } from '../core/log.js';
import type { Engine, JobEvent } from './engine.js';
import type { SpecialistWork } from './specialist-work.js';
import { describeFailures, trainMissing } from './train-missing.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-missing-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const workOf = (specialists: number): SpecialistWork => ({
  directory: join(folder, 'specialists'),
  generalist: 'generalist',
  dataset: 'dataset',
  inputs: {},
  subsets: Array.from({ length: specialists }, (_, id) => ({ id, classes: [id] })),
  labelCounts: Array(specialists).fill(1),
  training: { seed: 1 } as SpecialistWork['training'],
  backend: 'wasm',
});

type Listener = (event: JobEvent) => void;

/** An engine whose jobs do what the test says: on their start, and when they are to stop. */
function engineOf(
  start: (position: number, listener: Listener) => void,
  stop: (listener: Listener) => void = () => {},
): Engine {
  return {
    name: 'a test',
    outlivesCoordinator: false,
    open: async (_work, { listener }) => ({
      submit: async (positions) => {
        for (const position of positions) start(position, listener);
      },
      cancel: async () => stop(listener),
      [Symbol.asyncDispose]: async () => {},
    }),
  };
}

const done = (position: number): JobEvent => ({
  kind: 'ended',
  position,
  end: { kind: 'done', outcome: { id: position, seconds: 1, wasDone: false } },
});
const lost = (position: number): JobEvent => ({
  kind: 'ended',
  position,
  end: { kind: 'lost', reason: 'its process vanished' },
});
const never = new AbortController().signal;

test('a lost job is tried twice more, after pauses that double, while the others go on', async () => {
  const startsMs: number[] = [];
  const order: string[] = [];
  const engine = engineOf((position, listener) => {
    if (position === 0) startsMs.push(performance.now());
    setTimeout(() => {
      order.push(position === 0 ? 'lost' : 'done');
      listener(position === 0 ? lost(0) : done(1));
    }, position);
  });
  const warnings: string[] = [];
  const log: Log = { ...silentLog, warn: (message) => warnings.push(message) };
  const trained = await trainMissing(engine, workOf(2), { log, signal: never, backOffMs: 50 });
  expect(trained).toEqual({
    done: [{ id: 1, seconds: 1, wasDone: false }],
    failed: [{ id: 0, reason: 'lost 3 times, the last time because its process vanished' }],
  });
  expect(warnings).toEqual(Array(2).fill('specialist 0: its process vanished; trying again'));
  expect(order).toEqual(['lost', 'done', 'lost', 'lost']);
  const [first, second] = [startsMs[1] - startsMs[0], startsMs[2] - startsMs[1]];
  expect(first).toBeGreaterThanOrEqual(49); // Node's timers may come a millisecond early
  expect(second).toBeGreaterThanOrEqual(99);
});

test('a job that comes through in another try is no failure', async () => {
  let tries = 0;
  const engine = engineOf((position, listener) => {
    queueMicrotask(() => listener(++tries === 3 ? done(position) : lost(position)));
  });
  const trained = await trainMissing(engine, workOf(1), { log: silentLog, signal: never, backOffMs: 1 });
  expect(trained).toMatchObject({ done: [{ id: 0 }], failed: [] });
});

test.each([
  [
    'after its checkpoint',
    { kind: 'stopped' },
    'specialists-stopped',
    'stopped with 0 of 1 specialists done',
  ],
  [
    'without one',
    { kind: 'lost', reason: 'it hung' },
    'interrupted',
    'stopped with 0 of 1 specialists done; 1 ended without a last checkpoint and will continue from the one before',
  ],
] as const)('a job that is told to stop and ends %s', async (_, end, code, message) => {
  const abort = new AbortController();
  const engine = engineOf(
    () => setTimeout(() => abort.abort(), 1),
    (listener) => listener({ kind: 'ended', position: 0, end }),
  );
  const training = trainMissing(engine, workOf(1), { log: silentLog, signal: abort.signal });
  await expect(training).rejects.toMatchObject({ code, message });
});

test('an engine that breaks stops its jobs and says why', async () => {
  let isStopped = false;
  const engine = engineOf(
    (_, listener) => queueMicrotask(() => listener({ kind: 'broken', error: new Error('no memory') })),
    () => {
      isStopped = true;
    },
  );
  await expect(trainMissing(engine, workOf(2), { log: silentLog, signal: never })).rejects.toThrow(
    'no memory',
  );
  expect(isStopped).toBe(true);
});

test('a list of failures says which, why, where more is told, and which are not worth another try', () => {
  const crashed = { id: 3, reason: 'its process ended with exit code 9', log: '/w/.jobs/logs/12_3.log' };
  const barren = { id: 5, reason: 'subset 5 holds no examples: cluster into other subsets', isFinal: true };
  expect(describeFailures([crashed])).toBe(
    '  specialist 3: its process ended with exit code 9\n    its log: /w/.jobs/logs/12_3.log',
  );
  expect(describeFailures([crashed, barren]).split('\n').slice(2)).toEqual([
    '  specialist 5: subset 5 holds no examples: cluster into other subsets',
    '  with the same settings specialists 5 will fail again: change what the reason names',
  ]);
});
