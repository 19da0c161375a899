import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { plainSlurm } from '../../../test/support/slurm.js';
import { silentLog } from '../../core/log.js';
import type { SpecialistWork } from '../specialist-work.js';
import { parseVersion, runSlurmCommand } from './commands.js';
import { queryTasks } from './queue.js';
import { cancelArrays, createSlurm } from './slurm-engine.js';
import { askedClusters, checkSlurmOptions, type SlurmOptions } from './slurm-options.js';
import { readSlurmState } from './state.js';
import { parseSubmission } from './submission.js';

/**
 * Sites whose Slurm prints and allows other things than a plain one. One script stands in for all of its commands: SITE
 * chooses the site, and `submitted` holds a line `number name tasks account` for each array that the site took.
 */
const script = String.raw`#!/bin/bash
name=$(basename "$0"); log=$(dirname "$0"); cluster= federated= job= by= tasks=1 account=$SBATCH_ACCOUNT
last=
for w in "$@"; do case $w in
  -M?*|--clusters=*) cluster=\${w##*[M=]};; --federation) federated=1;;
  --job-name=*) job=\${w#*=};; --name=*) by=\${w#*=};;
  --array=*) tasks=\${w#--array=0-}; tasks=$((\${tasks%%%*} + 1));; --account=*) account=\${w#*=};;
esac; done
case $SITE in welcome|lone-number)
  printf '\033[32m-------------------------\n  Welcome to the Example Supercomputer \033[0m\n'; [ $SITE = lone-number ] && echo 2026
  echo "$name: warning: maintenance on 12_0 at 9:00 | bring|tea|and|cake" >&2;;
esac
here() { case $SITE in cluster|reused-elsewhere|sentence) [ "$cluster" = nautilus ];; *) true;; esac; }
case $name in
sbatch)
  [ "$1" = --version ] && { echo "slurm 23.11.11"; exit 0; }
  cat >/dev/null
  case $SITE in
    small-arrays) [ $tasks -gt 3 ] && { echo "sbatch: error: Batch job submission failed: Invalid job array specification" >&2; exit 1; };;
    submit-limit) [ $(($(awk '{n+=$3} END {print n+0}' $log/submitted) + tasks)) -gt 4 ] && { echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1; };;
    accounts) [ -z "$account" ] && { echo "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified" >&2; exit 1; };;
  esac
  n=$(($(wc -l < $log/submitted) + 100)); echo "$n $job $tasks $account" >> $log/submitted
  case $SITE in
    cluster|reused-elsewhere|federation) echo "$n;nautilus";;
    sentence) echo "Submitted batch job $n on cluster nautilus";;
    mute) echo "Votre travail est en attente";;
    timeout) echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1;;
    welcome) printf '\033[1m%s\033[0m\r\n--> Verifying valid submit host...OK\n' $n;;
    *) echo $n;;
  esac;;
scontrol)
  if [ "$1 $2" = "show config" ]; then
    [ $SITE = small-arrays ] && { echo "scontrol: error: access denied" >&2; exit 1; }
    echo "MaxArraySize            = 1001"; exit 0
  fi
  [ $SITE = no-accounting ] || { echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }
  while read n job tasks _; do for ((k = 0; k < tasks; k++)); do
    echo "JobId=$((n + k)) ArrayJobId=$n ArrayTaskId=$k JobName=$job JobState=FAILED ExitCode=1:0 NodeList=n$k"; done; done < $log/submitted;;
sacct)
  case $SITE in
    reused) echo "100_0|FAILED|1:0|node1|weather"; exit 0;;
    no-accounting) echo "sacct: error: Slurm accounting storage is disabled" >&2; exit 1;;
  esac;;
squeue)
  if ! here; then
    [ -n "$by" ] && exit 0
    [ $SITE = reused-elsewhere ] && { echo "100_0|COMPLETED|node1|None|weather"; exit 0; }
    echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1
  fi
  if [ $SITE = no-accounting ] && [ -z "$by" ]; then echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; fi
  while read n job tasks account; do
    [ -n "$SQUEUE_ACCOUNT" ] && [ "$SQUEUE_ACCOUNT" != "$account" ] && continue
    if [ -n "$by" ]; then [ "$job" = "$by" ] && { [ $SITE = mute ] && echo $n || echo "$n|$job"; }; continue; fi
    state=PENDING; [ $SITE = federation ] && { state=REVOKED; [ -n "$federated" ] && state=RUNNING; }
    for ((k = 0; k < tasks; k++)); do echo "$n"_"$k|$state|\${federated:+sibling1}|Priority|$job"; done
  done < $log/submitted;;
scancel)
  echo "$@" >> $log/cancelled
  [ $SITE = over ] && { echo "scancel: error: Kill job error on job id 100: Invalid job id specified" >&2; exit 1; }
esac
exit 0
`.replaceAll('\\$', '$');

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'kd-spec-sites-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));
afterEach(() => {
  vi.unstubAllEnvs();
});

const commands = ['sbatch', 'squeue', 'sacct', 'scontrol', 'scancel'];

/** A site with a workspace of some specialists, and a command that submits them. */
async function siteOf(name: string, { specialists = 2, without = [] as readonly string[] } = {}) {
  const folder = await mkdtemp(join(root, `${name}-`));
  const bin = join(folder, 'bin');
  await mkdir(bin);
  await writeFile(join(bin, 'site'), script);
  await chmod(join(bin, 'site'), 0o755);
  await writeFile(join(bin, 'submitted'), '');
  for (const command of commands.filter((command) => !without.includes(command))) {
    await symlink('site', join(bin, command));
  }
  vi.stubEnv('SITE', name);
  vi.stubEnv('PATH', `${bin}:/usr/bin:/bin`);
  const workspace = join(folder, 'workspace');
  const work: SpecialistWork = {
    directory: join(workspace, 'specialists'),
    generalist: 'g',
    dataset: 'd',
    inputs: {},
    subsets: Array.from({ length: specialists }, (_, id) => ({ id, classes: [id] })),
    labelCounts: Array(specialists).fill(1),
    training: { seed: 1 } as SpecialistWork['training'],
    backend: 'wasm',
  };
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (message: string) => warnings.push(message) };
  const submit = async (options: Partial<SlurmOptions> = {}) => {
    const engine = createSlurm(workspace, ['train'], { ...plainSlurm, ...options }, { pollMs: 10_000 });
    await using jobs = await engine.open(work, { log, listener: () => {} });
    await jobs.submit([...work.subsets.keys()]);
  };
  const stateOf = async () => {
    const state = await readSlurmState(workspace);
    if (state === undefined) throw new Error('nothing was submitted');
    return state;
  };
  return {
    submit,
    warnings,
    /** Number, cluster and tasks of each array that kd-spec knows. */
    known: async () =>
      (await stateOf()).arrays.map(({ jobId, cluster, positions }) => [jobId, cluster, positions.length]),
    tasks: async () => [...(await queryTasks(runSlurmCommand, await stateOf())).values()],
    cancel: async () => cancelArrays(runSlurmCommand, await stateOf()),
    lines: async (file: 'submitted' | 'cancelled') =>
      (await readFile(join(bin, file), 'utf8')).split('\n').filter((line) => line !== ''),
  };
}

test.each([
  ['welcome', null],
  ['lone-number', null],
  ['cluster', 'nautilus'],
  ['reused-elsewhere', 'nautilus'],
  ['sentence', 'nautilus'],
  ['mute', null],
  ['timeout', null],
  ['reused', null],
])('site "%s": the job is known, and not submitted twice', async (name, cluster) => {
  const site = await siteOf(name);
  await site.submit(name === 'cluster' ? { options: '--clusters=nautilus' } : {});
  await site.submit();
  expect(await site.lines('submitted')).toHaveLength(1);
  expect(await site.known()).toEqual([['100', cluster, 2]]);
  expect((await site.tasks()).map(({ task, state }) => [task, state])).toEqual([
    ['100_0', 'PENDING'],
    ['100_1', 'PENDING'],
  ]);
  await site.cancel();
  expect(await site.lines('cancelled')).toEqual([cluster === null ? '100' : `--clusters=${cluster} 100`]);
});

test('a job that another cluster of a federation took runs there', async () => {
  const site = await siteOf('federation');
  await site.submit();
  await site.submit();
  expect(await site.lines('submitted')).toHaveLength(1);
  expect((await site.tasks())[0]).toMatchObject({ state: 'RUNNING', node: 'sibling1' });
});

test.each([
  ['is disabled', []],
  ['has no command', ['sacct']],
])('where the accounting %s, the controller tells how jobs ended', async (_, without) => {
  const site = await siteOf('no-accounting', { without });
  await site.submit();
  expect(await site.tasks()).toEqual([
    { task: '100_0', state: 'FAILED', node: 'n0', reason: 'exit code 1' },
    { task: '100_1', state: 'FAILED', node: 'n1', reason: 'exit code 1' },
  ]);
});

test('arrays that a site refuses as too large are submitted in smaller ones', async () => {
  const site = await siteOf('small-arrays', { specialists: 7 });
  await site.submit();
  expect((await site.known()).map(([, , tasks]) => tasks)).toEqual([2, 2, 2, 1]);
  expect(site.warnings).toEqual([
    'scontrol does not tell the MaxArraySize of this cluster (scontrol: error: access denied): taken to be 1001',
    expect.stringContaining('refused an array of 7'),
    expect.stringContaining('refused an array of 4'),
  ]);
});

test('a limit of jobs that a user may have is reached with what it allows, and the end says so', async () => {
  const site = await siteOf('submit-limit', { specialists: 6 });
  await expect(site.submit()).rejects.toMatchObject({
    code: 'slurm-failed',
    message: expect.stringMatching(
      /QOSMaxSubmitJobPerUserLimit.*\n {2}4 of 6 specialists were submitted before this; the same command/s,
    ),
  });
  expect((await site.known()).map(([jobId, , tasks]) => [jobId, tasks])).toEqual([
    ['100', 3],
    ['101', 1],
    [null, 1],
  ]);
});

test('with several accounts, one is asked for, and a filter of the shell hides no job', async () => {
  const site = await siteOf('accounts');
  await expect(site.submit()).rejects.toThrow(/Invalid account.*--slurm-account names the account/s);
  vi.stubEnv('SQUEUE_ACCOUNT', 'physics');
  await site.submit({ account: 'vision' });
  await site.submit({ account: 'vision' });
  expect(await site.lines('submitted')).toHaveLength(1);
});

test('jobs that ended by themselves are no failure of scancel', async () => {
  const site = await siteOf('over');
  await site.submit();
  await site.cancel();
  expect(await site.lines('cancelled')).toEqual(['100']);
});

test.each([
  ['100', [['100', null]]],
  ['  100;nautilus \r\nsbatch: info: see the news\n', [['100', 'nautilus']]],
  ['Submitted batch job 100\n', [['100', null]]],
  [
    '2026\n100;nautilus\n',
    [
      ['2026', null],
      ['100', 'nautilus'],
    ],
  ],
  ['Queue 100 of 200 is full\n', []],
])('%j are the numbers %j', (text, jobs) => {
  expect(parseSubmission(text).map(({ jobId, cluster }) => [jobId, cluster])).toEqual(jobs);
});

test('a version stands where it stands', () => {
  expect(parseVersion('*** Welcome to Slurm 4 ***\nslurm-wlm 22.05.8\n')).toBe('22.05.8');
});

test.each([
  ['--clusters=a,b', {}, 'a,b'],
  ['--qos=long -M nautilus', {}, 'nautilus'],
  ['--clusters a', {}, 'a'],
  ['-Ma', {}, 'a'],
  [null, { SBATCH_CLUSTERS: 'c' }, 'c'],
  ['--mem=8G', {}, null],
])('with the words %s and %j jobs go to %s', (options, env, clusters) => {
  expect(askedClusters({ ...plainSlurm, options }, env)).toBe(clusters);
});

test.each([
  [{ time: '2h' }, '--slurm-time'],
  [{ time: '2026-01-01T00:00' }, '--slurm-time'],
  [{ memory: '8 gigabytes' }, '--slurm-memory'],
])('%j is refused before anything is computed', (options, flag) => {
  expect(() => checkSlurmOptions({ ...plainSlurm, ...options })).toThrow(
    expect.objectContaining({ code: 'option-invalid', message: expect.stringContaining(flag) }),
  );
});
