/**
 * Measures the longest stretch without a turn of the event loop in every command: a signal waits that long to be seen.
 *
 *     npm run build && npx tsx scripts/reliability/loop-delay.ts                     # the quickstart's pipeline
 *     npx tsx scripts/reliability/loop-delay.ts --classes 15000 --images-per-class 4   # a large label space
 *     npx tsx scripts/reliability/loop-delay.ts --workspace w --only calibrate,evaluate # in a workspace that is kept
 *
 * A stretch is measured in wall-clock time and in processor time of the main thread, which other programs on the machine
 * do not lengthen (Linux; elsewhere both are wall-clock time). Exit code 1 when one takes half a second of processor time.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const { values: flags } = parseArgs({
  options: {
    classes: { type: 'string' },
    'images-per-class': { type: 'string', default: '4' },
    'image-size': { type: 'string', default: '16' },
    clusters: { type: 'string', default: '60' },
    workspace: { type: 'string' },
    program: { type: 'string', default: 'dist/cli/main.js' },
    only: { type: 'string' },
  },
});
const limitMs = 500;

/** Runs in the process that is measured, before its program. */
const watch = `
import { appendFileSync, readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
if (isMainThread && process.env.TEST_LOOP_DELAY) {
  const busyMs = () => {
    try { return Number(readFileSync('/proc/self/task/' + process.pid + '/schedstat', 'utf8').split(' ')[0]) / 1e6; }
    catch { return performance.now(); }
  };
  let last = { wall: performance.now(), busy: busyMs() };
  let worst = { wallMs: 0, busyMs: 0, atMs: 0 };
  const tick = () => {
    const now = { wall: performance.now(), busy: busyMs() };
    if (now.busy - last.busy > worst.busyMs)
      worst = { wallMs: now.wall - last.wall, busyMs: now.busy - last.busy, atMs: last.wall };
    last = now;
  };
  setInterval(tick, 5).unref();
  process.on('exit', () => { tick(); appendFileSync(process.env.TEST_LOOP_DELAY, JSON.stringify(worst) + '\\n'); });
}`;

const folder = await mkdtemp(join(tmpdir(), 'kd-spec-loop-'));
const workspace = resolve(flags.workspace ?? join(folder, 'workspace'));
const isSynthetic = flags.classes !== undefined;
const made = isSynthetic
  ? [
      ...['--source', 'jft-like', '--classes', String(flags.classes)],
      ...['--images-per-class', flags['images-per-class'], '--image-size', flags['image-size']],
      ...['--convolutions', '8', '--dense', '32', '--epochs', '1', '--clusters', flags.clusters],
      ...['--specialist-epochs', '1', '--views', '1'],
    ]
  : ['--pipeline', 'pipelines/quickstart.yaml'];
const own = (...names: string[]) => {
  const kept = names.flatMap((name) => {
    const at = made.indexOf(name);
    return at < 0 ? [] : [name, made[at + 1]];
  });
  return isSynthetic ? kept : made;
};
const dataset = own('--source', '--classes', '--images-per-class', '--image-size');
const steps: readonly (readonly string[])[] = [
  ['dataset', ...dataset],
  ['train-generalist', ...own('--convolutions', '--dense', '--epochs')],
  ['predict', ...(isSynthetic ? [] : made)],
  ['cluster', ...own('--clusters')],
  ['train-specialists', ...own('--specialist-epochs', '--views')],
  ['calibrate', ...(isSynthetic ? [] : made)],
  ['evaluate', ...(isSynthetic ? [] : made)],
  ['rivals', ...(isSynthetic ? [] : made)],
  ['answer', '--teacher', 'ensemble'],
  ['distill', '--student-epochs', '1'],
  ['export', '--format', 'onnx', '--out', join(folder, 'model.onnx')],
  ['export', '--format', 'web', '--out', join(folder, 'web')],
  ['status'],
];

let isSlow = false;
try {
  for (const [command, ...words] of steps) {
    if (flags.only !== undefined && !flags.only.split(',').includes(command)) continue;
    const told = join(folder, 'told');
    await rm(told, { force: true });
    const began = performance.now();
    const child = spawn(
      process.execPath,
      [resolve(flags.program), command, ...words, '--workspace', workspace],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: {
          ...process.env,
          TEST_LOOP_DELAY: told,
          NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(watch)}`,
        },
      },
    );
    let said = '';
    child.stderr.on('data', (data) => {
      said = (said + String(data)).slice(-2000);
    });
    const [code] = await once(child, 'close');
    const lines = existsSync(told) ? (await readFile(told, 'utf8')).trim().split('\n') : [];
    const stretches = lines.map((line): { wallMs: number; busyMs: number; atMs: number } => JSON.parse(line));
    const worst = stretches.reduce((most, one) => (one.busyMs > most.busyMs ? one : most), {
      wallMs: 0,
      busyMs: 0,
      atMs: 0,
    });
    if (worst.busyMs >= limitMs) isSlow = true;
    const ms = (value: number) => `${value.toFixed(0)} ms`;
    console.log(
      `${[command, ...words.slice(0, 2)].join(' ').slice(0, 40).padEnd(42)} ${((performance.now() - began) / 1000).toFixed(1).padStart(7)} s` +
        `   longest stretch ${ms(worst.busyMs)} (${ms(worst.wallMs)} on the clock), after ${(worst.atMs / 1000).toFixed(1)} s${code === 0 ? '' : `   exit ${code}: ${said.split('\n').at(-3)}`}`,
    );
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
if (isSlow) process.exitCode = 1;
