/**
 * Kills the quickstart pipeline, made small, at random moments, resumes it, and compares what comes out with what a
 * run makes that was never killed.
 *
 *     scripts/torture --rounds 200 --seed 1 --out docs/results
 *
 * A round is one `kill -9`. Rounds strike one workspace until a run of the command comes to its end there; then the
 * workspace is compared, and the next one begun. First a stage is drawn among those still to be made, then the moment
 * in it, so that short stages are struck as often as long ones. Needs Linux. Exits with 1 when anything differs. Ctrl-C
 * brings the workspace at hand to its end and sums up what was done by then.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createRandom } from '../../src/core/random.js';
import { artefactsIn, compareWorkspaces, inconsistencies } from './compare-workspaces.js';
import { membersOf, type Place, places, type Run, reaches, startRun } from './killed-run.js';
import { type Round, type Target, type TortureSummary, targets, torturePage } from './torture-summary.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    /** A folder for reliability.md and reliability.json. */
    out: { type: 'string' },
  },
});
const asked = Number(values.rounds);
let greatest = asked;
process.once('SIGINT', () => {
  greatest = rounds.length;
});
const patienceMs = 20_000; // in which workers without a parent must have ended
/** How often a place is struck in one workspace, so that runs go on; the longest ones more often. */
const strikes = (place: Place): number => (place === 'specialists' ? 6 : place === 'generalist' ? 3 : 2);
const workerKills = 2; // in one run: a third may hit the same specialist, which is then given up, as it should be

const home = resolve(import.meta.dirname, '..', '..');
const fonts = ['dela-gothic-one', 'dotgothic16', 'potta-one', 'hina-mincho', 'yusei-magic', 'zen-antique'];
/** The quickstart, but for its size. */
const overrides = [
  ...['--fonts', fonts.map((name) => `@fontsource/${name}`).join(','), '--minimum-designs', '4'],
  ...['--validation-designs', '1', '--test-designs', '1', '--code-points', '0x4E00-0x4FFF'],
  ...['--classes', '60', '--convolutions', '8,16', '--dense', '32', '--epochs', '10'],
  ...['--clusters', '4', '--min-size', '5', '--specialist-epochs', '10', '--views', '2'],
  ...['--parallel', '2', '--checkpoint-seconds', '1'],
];
const root = await mkdtemp(join(tmpdir(), 'kd-spec-torture-'));
const start = (workspace: string): Run =>
  startRun(
    [
      join(home, 'dist', 'cli', 'main.js'),
      ...['run', join(home, 'pipelines', 'quickstart.yaml'), '--workspace', workspace],
      ...overrides,
    ],
    home,
  );

const random = createRandom('torture', Number(values.seed));
const draw = <T>(list: readonly T[]): T => list[random.below(list.length)];
const startedMs = performance.now();
const rounds: Round[] = [];
const failures: string[] = [];
let [artefactsRead, artefactsKept, workspaces] = [0, 0, 0];

const expected = join(root, 'undisturbed');
const undisturbed = start(expected);
const { code, ms: undisturbedMs } = await undisturbed.ended;
if (code !== 0) throw new Error(`the run that nobody disturbs ended with ${code}:\n${undisturbed.stderr()}`);
const lengthsMs = new Map(
  places.map((place, index) => {
    const next = places.slice(index + 1).find((name) => name in undisturbed.entered);
    const endMs = (next && undisturbed.entered[next]) ?? undisturbedMs;
    return [place, endMs - (undisturbed.entered[place] ?? 0)];
  }),
);

while (rounds.length < greatest) {
  const workspace = join(root, `${++workspaces}`);
  const finished = new Map<string, string>(); // times at which artefacts were finished that were seen at a kill
  const before = failures.length;
  for (const failure of await torment(workspace, finished))
    failures.push(`workspace ${workspaces}: ${failure}`);
  for (const difference of await compareWorkspaces(workspace, expected)) {
    failures.push(`workspace ${workspaces}: ${difference}`);
  }
  for (const [folder, time] of finished) {
    artefactsKept++;
    if ((await finishTime(folder)) !== time) failures.push(`${folder} was whole and has been made again`);
  }
  if (failures.length === before) await rm(workspace, { recursive: true, force: true });
  const minutes = ((performance.now() - startedMs) / 60_000).toFixed(1);
  console.error(
    `${rounds.length} kills, ${workspaces} workspaces, ${failures.length} failures, ${minutes} min`,
  );
}

const summary: TortureSummary = {
  command: `scripts/torture ${process.argv.slice(2).join(' ')}`.trimEnd(),
  machine: {
    processor: cpus()[0].model,
    cores: availableParallelism(),
    node: process.versions.node,
    load: loadavg()[2],
  },
  asked,
  rounds,
  workspaces,
  artefactsRead,
  artefactsKept,
  failures,
  undisturbedSeconds: undisturbedMs / 1000,
  seconds: (performance.now() - startedMs) / 1000,
};
const page = torturePage(summary);
console.log(page);
if (values.out !== undefined) {
  await writeFile(join(values.out, 'reliability.md'), page);
  await writeFile(join(values.out, 'reliability.json'), `${JSON.stringify(summary, null, 2)}\n`);
}
if (failures.length === 0) await rm(root, { recursive: true, force: true });
else console.error(`what differs is kept in ${root}`);
process.exitCode = failures.length === 0 ? 0 : 1;

/** Has the command run in a workspace, killing it, until it comes to its end; returns what went wrong. */
async function torment(workspace: string, finished: Map<string, string>): Promise<readonly string[]> {
  const wrong: string[] = [];
  const groups: number[] = [];
  const struck: Place[] = [];
  for (;;) {
    const run = start(workspace);
    const group = run.child.pid ?? 0;
    groups.push(group);
    const isDown = await strike(run, group, workspace, struck);
    const end = await run.ended;
    if (!isDown) {
      if (end.code !== 0) wrong.push(`ended with ${end.code}:\n${run.stderr()}`);
      break;
    }
    for (const folder of await artefactsIn(workspace)) {
      artefactsRead++;
      finished.set(folder.replace('/.partial/', '/'), (await finishTime(folder)) ?? '');
    }
    wrong.push(...(await inconsistencies(workspace)));
  }
  const deadlineMs = performance.now() + patienceMs;
  const survivors = () => groups.flatMap(membersOf);
  while (survivors().length > 0 && performance.now() < deadlineMs) await wait(50);
  if (survivors().length > 0) wrong.push(`processes without a parent are still there: ${survivors()}`);
  return wrong;
}

/** Kills what is drawn until the command is down or at its end; true when it is down. */
async function strike(run: Run, group: number, workspace: string, struck: Place[]): Promise<boolean> {
  let workersKilled = 0;
  while (rounds.length < greatest) {
    const toCome = places.slice(places.indexOf(run.place()));
    const open = toCome.filter(
      (place) =>
        (place === 'start' || !existsSync(join(workspace, place))) &&
        struck.filter((other) => other === place).length < strikes(place),
    );
    if (open.length === 0) return false;
    const canKillWorker = open.includes('specialists') && workersKilled < workerKills;
    const target = draw(canKillWorker ? targets : targets.filter((name) => name !== 'worker'));
    const place: Place = target === 'worker' ? 'specialists' : drawPlace(open);
    const delayMs = 1.1 * random.uniform() * (lengthsMs.get(place) ?? 0);
    if (!(await reaches(run, place, delayMs))) return false;

    const at: Omit<Round, 'target'> = { place: run.place(), ms: Math.round(run.elapsedMs()) };
    const hit = victims(target, group);
    for (const pid of hit) killHard(pid);
    if (hit.length === 0) continue; // no worker at this moment
    rounds.push({ target, ...at });
    struck.push(at.place);
    if (target !== 'worker') return true;
    workersKilled++;
  }
  return false;
}

/** Most often the stage that comes next, so that a run is struck in each; now and then a later one. */
function drawPlace(open: readonly Place[]): Place {
  const stages = open.filter((place) => place !== 'start');
  if (stages.length === 0 || (open.includes('start') && random.uniform() < 0.1)) return open[0];
  return random.uniform() < 0.7 ? stages[0] : draw(stages);
}

function victims(target: Target, group: number): readonly number[] {
  if (target === 'command') return [group];
  const workers = membersOf(group).filter((pid) => pid !== group);
  if (target === 'all') return [group, ...workers];
  return workers.length === 0 ? [] : [draw(workers)];
}

function killHard(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended in this very moment.
  }
}

async function finishTime(folder: string): Promise<string | undefined> {
  const text = await readFile(join(folder, 'manifest.json'), 'utf8').catch(() => '{}');
  return JSON.parse(text).finishedAt;
}
