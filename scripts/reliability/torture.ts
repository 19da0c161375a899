/**
 * Kills the quickstart pipeline, made small, at random moments, resumes it, and compares what comes out with what a
 * run makes that was never killed.
 *
 *     scripts/torture --rounds 200 --seed 1 --out docs/results
 *
 * A round is one `kill -9`. For each workspace a plan is drawn by the seed: for each stage, how often it is struck,
 * whom, and at what share of the time that the stage took when it was last seen to go through; so short stages are
 * struck as often as long ones. A run of the command follows another until one comes to its end; then the workspace is
 * compared, and the next one begun. Where a kill fell is read from all that the command had written by then. Needs
 * Linux. Exits with 1 when anything differs. Ctrl-C brings the workspace at hand to its end and sums up what was done
 * by then.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createRandom } from '../../src/core/random.js';
import { describeMachine } from '../machine.js';
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
/** How often a stage is struck in one workspace, at least and at most. */
const strikes = (stage: Place): readonly [number, number] =>
  stage === 'specialists' ? [3, 6] : stage === 'generalist' ? [1, 3] : [1, 2];
const strikesBefore = 0.25; // share of strikes that another goes before, while the command still looks at what is there
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
const lengthsMs = new Map<Place, number>();
learnLengths(undisturbed, undisturbedMs);

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
  machine: describeMachine(15),
  places: places.filter((place) => place in undisturbed.entered),
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

/** A kill that is planned. */
interface Strike {
  readonly target: Target;
  readonly place: Place;
  /** Of the time that the place takes. */
  readonly share: number;
}

/** The strikes at one workspace, in the order of the stages. */
function drawPlan(): Strike[] {
  const plan: Strike[] = [];
  for (const place of places.filter((name) => name !== 'start' && lengthsMs.has(name))) {
    const [least, most] = strikes(place);
    const count = least + random.below(most - least + 1);
    for (let number = 0; number < count; number++) {
      const stay = targets.filter((name) => name !== 'worker');
      if (random.uniform() < strikesBefore)
        plan.push({ target: draw(stay), place: 'start', share: random.uniform() });
      const target = draw(place === 'specialists' ? [...targets, 'worker' as const] : stay);
      plan.push({ target, place, share: random.uniform() });
    }
  }
  return plan;
}

/** Has the command run in a workspace, killing it, until it comes to its end; returns what went wrong. */
async function torment(workspace: string, finished: Map<string, string>): Promise<readonly string[]> {
  const wrong: string[] = [];
  const groups: number[] = [];
  const plan = drawPlan();
  for (;;) {
    const run = start(workspace);
    const group = run.child.pid ?? 0;
    groups.push(group);
    const kill = await strike(run, group, workspace, plan);
    const end = await run.ended;
    learnLengths(run, kill === undefined ? end.ms : undefined);
    if (kill === undefined) {
      if (end.code !== 0) wrong.push(`ended with ${end.code}:\n${run.stderr()}`);
      break;
    }
    rounds.push({ ...kill, place: run.place() });
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

/** Remembers how long a run was in each place that it went through; in the last one only where it came to its end. */
function learnLengths({ entered }: Run, endMs: number | undefined): void {
  const seen = places.filter((place) => place in entered);
  for (const [index, place] of seen.entries()) {
    const leftMs = index + 1 < seen.length ? entered[seen[index + 1]] : endMs;
    if (leftMs !== undefined) lengthsMs.set(place, leftMs - (entered[place] ?? 0));
  }
}

/** Strikes as planned until the command is down, and says whom and when; undefined when it came to its end. */
async function strike(
  run: Run,
  group: number,
  workspace: string,
  plan: Strike[],
): Promise<Omit<Round, 'place'> | undefined> {
  let workersKilled = 0;
  while (rounds.length < greatest) {
    const next = plan.shift();
    if (next === undefined) return undefined;
    const { target, place, share } = next;
    if (target === 'worker' && workersKilled === workerKills) continue;
    if (place !== 'start' && existsSync(join(workspace, place))) continue; // the kill before came too late
    if (!(await reaches(run, place, share * (lengthsMs.get(place) ?? 0)))) return undefined;

    const hit = await victims(target, run, group);
    const ms = Math.round(run.elapsedMs());
    for (const pid of hit) killHard(pid);
    if (hit.length === 0) continue; // no worker at this moment
    if (target !== 'worker') return { target, ms };
    rounds.push({ target, place: run.place(), ms });
    workersKilled++;
  }
  return undefined;
}

/** The processes to be killed; of a worker's, one as soon as there is any, and none if the stage goes by meanwhile. */
async function victims(target: Target, run: Run, group: number): Promise<readonly number[]> {
  if (target === 'command') return [group];
  const workers = () => membersOf(group).filter((pid) => pid !== group);
  if (target === 'all') return [group, ...workers()];
  while (workers().length === 0 && run.place() === 'specialists' && run.child.exitCode === null)
    await wait(20);
  const found = workers();
  return found.length === 0 ? [] : [draw(found)];
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
