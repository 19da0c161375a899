import { KdSpecError } from '../../core/errors.js';
import type { RunCommand } from './commands.js';
import type { SlurmArray, SlurmState } from './state.js';

/** What Slurm says of one task of an array. */
export interface TaskState {
  /** Slurm's word in capitals, e.g. `RUNNING`, `OUT_OF_MEMORY`. */
  readonly state: string;
  /** The node it runs or ran on; empty when it has none. */
  readonly node: string;
  /** E.g. `exit code 1`, `signal 9`, or Slurm's reason; empty when there is none. */
  readonly reason: string;
}

/** The state of the task that trains some position. */
export interface PositionState extends TaskState {
  /** Its name, e.g. `12_4`. */
  readonly task: string;
}

/** Task states by position; of a position that was submitted again, that of its last array. */
export type TaskStates = ReadonlyMap<number, PositionState>;

/** States in which Slurm will still do something about a task. */
const live: ReadonlySet<string> = new Set([
  'PENDING',
  'CONFIGURING',
  'RUNNING',
  'COMPLETING',
  'SUSPENDED',
  'STOPPED',
  'RESIZING',
  'SIGNALING',
  'STAGE_OUT',
  'REQUEUED',
  'REQUEUE_HOLD',
  'REQUEUE_FED',
  'SPECIAL_EXIT',
]);

export function isLive({ state }: TaskState): boolean {
  return live.has(state);
}

/**
 * Asks Slurm for the state of every task of some arrays: the queue for those that are under way, the accounting for
 * those that ended, and, where a cluster keeps no accounting, the controller, which forgets them after a while.
 */
export async function queryTasks(run: RunCommand, { arrays }: SlurmState): Promise<TaskStates> {
  const known = arrays.filter(({ jobId }) => jobId !== null);
  if (known.length === 0) return new Map();
  const ids = known.map(({ jobId }) => jobId).join(',');
  const tasks = new Map<string, TaskState>();

  const accounted = await run('sacct', ['-X', '-n', '-P', '-j', ids, '-o', 'JobID,State,ExitCode,NodeList']);
  if (accounted.code === 0) {
    for (const [task, state] of parseAccounting(accounted.stdout)) tasks.set(task, state);
  } else {
    for (const { jobId } of known) {
      const { code, stdout } = await run('scontrol', ['-o', 'show', 'job', String(jobId)]);
      if (code === 0) for (const [task, state] of parseControllerJobs(stdout)) tasks.set(task, state);
    }
  }
  // Last, since the queue knows best: of a task that was requeued the accounting may still tell the first life.
  const queued = await run('squeue', ['-h', '-r', '-t', 'all', '-j', ids, '-o', '%F_%K|%T|%N|%r']);
  if (queued.code === 0) {
    for (const [task, state] of parseQueue(queued.stdout)) {
      const ended = tasks.get(task);
      tasks.set(task, isLive(state) || ended === undefined || isLive(ended) ? state : ended);
    }
  } else if (!/Invalid job id/i.test(queued.stderr)) {
    throw new KdSpecError(
      'slurm-failed',
      `squeue ended with ${queued.code} and said: ${queued.stderr.trim()}`,
    );
  }
  return byPosition(known, tasks);
}

function byPosition(arrays: readonly SlurmArray[], tasks: ReadonlyMap<string, TaskState>): TaskStates {
  const states = new Map<number, PositionState>();
  for (const { jobId, positions } of arrays) {
    for (const [index, position] of positions.entries()) {
      const task = `${jobId}_${index}`;
      const state = tasks.get(task);
      if (state) states.set(position, { ...state, task });
      else states.delete(position); // an older array's answer says nothing of this one
    }
  }
  return states;
}

/** Tasks in lines `12_4|CANCELLED by 1000|0:15|node3` of sacct; an array that is pending as a whole stands as `12_[4-7]`. */
export function* parseAccounting(text: string): Generator<readonly [task: string, TaskState]> {
  for (const line of text.split('\n')) {
    const [task, state, exit, node] = line.split('|');
    if (!/^\d+_\d+$/.test(task) || state === undefined) continue;
    yield [task, { state: state.split(' ')[0], node: nodeName(node), reason: describeExit(exit) }];
  }
}

/** Tasks in lines `12_4|RUNNING|node3|None` of squeue. */
export function* parseQueue(text: string): Generator<readonly [task: string, TaskState]> {
  for (const line of text.split('\n')) {
    const [task, state, node, reason] = line.split('|');
    if (!/^\d+_\d+$/.test(task) || state === undefined) continue;
    yield [task, { state, node: nodeName(node), reason: reason === 'None' ? '' : (reason ?? '') }];
  }
}

/** Tasks in lines `JobId=13 ArrayJobId=12 ArrayTaskId=4 JobState=FAILED Reason=NonZeroExitCode ...` of scontrol. */
export function* parseControllerJobs(text: string): Generator<readonly [task: string, TaskState]> {
  for (const line of text.split('\n')) {
    const field = (name: string) => new RegExp(`(?:^| )${name}=(\\S+)`).exec(line)?.[1];
    const [array, task, state] = [field('ArrayJobId'), field('ArrayTaskId'), field('JobState')];
    if (array === undefined || state === undefined || !/^\d+$/.test(task ?? '')) continue;
    yield [
      `${array}_${task}`,
      { state, node: nodeName(field('NodeList')), reason: describeExit(field('ExitCode')) },
    ];
  }
}

function nodeName(text: string | undefined): string {
  return text === undefined || /^(None assigned|\(null\))$/.test(text) ? '' : text;
}

/** `1:0` is an exit code, `0:9` a signal. */
function describeExit(text: string | undefined): string {
  const [code, signal] = (text ?? '').split(':').map(Number);
  if (signal > 0) return `signal ${signal}`;
  return code > 0 ? `exit code ${code}` : '';
}

/** Finds the numbers of arrays that were submitted by a coordinator that did not live to write them down. */
export async function findLostArrays(run: RunCommand, state: SlurmState): Promise<SlurmState> {
  const arrays: SlurmArray[] = [];
  for (const array of state.arrays) {
    if (array.jobId !== null) {
      arrays.push(array);
      continue;
    }
    const { stdout } = await run('squeue', ['-h', '-t', 'all', `--name=${array.name}`, '-o', '%F']);
    const jobId = /^(\d+)/.exec(stdout.trim())?.[1];
    if (jobId !== undefined) arrays.push({ ...array, jobId });
  }
  return { ...state, arrays };
}
