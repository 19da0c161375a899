import { KdSpecError } from '../../core/errors.js';
import { clusterWords, commandError, linesOf, type RunCommand, slurmOutput, trial } from './commands.js';
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

/** States after which Slurm does no more about a task. Any other word, one of a later Slurm too, is of a task under way. */
const ended: ReadonlySet<string> = new Set([
  'COMPLETED',
  'FAILED',
  'CANCELLED',
  'TIMEOUT',
  'DEADLINE',
  'PREEMPTED',
  'NODE_FAIL',
  'BOOT_FAIL',
  'LAUNCH_FAILED',
  'RECONFIG_FAIL',
  'OUT_OF_MEMORY',
  'REVOKED',
]);

export function isLive({ state }: TaskState): boolean {
  return !ended.has(state);
}

/**
 * Reads the state of every task of some arrays, from the clusters that these went to: the queue for those that are
 * under way, the accounting for those that ended, and, for what it does not know or where a cluster keeps none, the
 * controller, which forgets them after a while.
 */
export async function queryTasks(run: RunCommand, { arrays }: SlurmState): Promise<TaskStates> {
  const states = new Map<number, PositionState>();
  const known = arrays.filter(({ jobId }) => jobId !== null);
  // Numbers are unique within a cluster only.
  const tasksOf = new Map<string | null, ReadonlyMap<string, TaskState>>();
  for (const { cluster } of known) {
    if (tasksOf.has(cluster)) continue;
    const there = known.filter((array) => array.cluster === cluster);
    const tasks = await queryCluster(run, clusterWords(cluster), there);
    // In a federation a job that another cluster took is revoked where it was submitted.
    if (![...tasks.values()].some(({ state }) => state === 'REVOKED')) {
      tasksOf.set(cluster, tasks);
      continue;
    }
    const elsewhere = await queryCluster(run, ['--federation'], there);
    const taken = [...elsewhere].filter(([, { state }]) => state !== 'REVOKED');
    tasksOf.set(cluster, new Map([...tasks, ...taken]));
  }
  for (const { jobId, cluster, positions } of known) {
    for (const [index, position] of positions.entries()) {
      const task = `${jobId}_${index}`;
      const state = tasksOf.get(cluster)?.get(task);
      if (state) states.set(position, { ...state, task });
      else states.delete(position); // an older array's state says nothing of this one
    }
  }
  return states;
}

/**
 * The tasks of arrays that went to one cluster.
 *
 * @param where the word that sends commands there
 */
async function queryCluster(
  run: RunCommand,
  where: readonly string[],
  arrays: readonly SlurmArray[],
): Promise<ReadonlyMap<string, TaskState>> {
  const ids = arrays.map(({ jobId }) => jobId).join(',');
  const nameOf = new Map(arrays.map(({ jobId, name }) => [jobId, name]));
  const tasks = new Map<string, TaskState>();
  /** Rows of these arrays: a number that Slurm gave again, to a job of another name, is not one of them. */
  const own = function* (rows: Iterable<TaskRow>) {
    for (const { task, name, ...state } of rows) {
      const expected = nameOf.get(task.split('_')[0]);
      if (expected !== undefined && (name === '' || name === expected)) yield [task, state] as const;
    }
  };

  const columns = 'JobID,State,ExitCode,NodeList,JobName';
  const accounted = await trial(run, 'sacct', ['-X', '-n', '-P', '-j', ids, '-o', columns, ...where]);
  const counted = accounted.code === 0 ? accounted.stdout : '';
  for (const [task, state] of own(parseAccounting(counted))) tasks.set(task, state);
  const isAccounted = (jobId: string | null) =>
    linesOf(counted).some((line) => line.startsWith(`${jobId}_`) || line.startsWith(`${jobId}|`));
  for (const { jobId } of arrays.filter((array) => !isAccounted(array.jobId))) {
    const { code, stdout } = await trial(run, 'scontrol', ['-o', 'show', 'job', `${jobId}`, ...where]);
    if (code === 0) for (const [task, state] of own(parseControllerJobs(stdout))) tasks.set(task, state);
  }
  // Last, since the queue knows best: of a task that was requeued the accounting may still tell the first life.
  const format = '%F_%K|%T|%N|%r|%j';
  const queued = await run('squeue', ['-h', '-r', '-t', 'all', '-j', ids, '-o', format, ...where]);
  if (queued.code === 0) {
    for (const [task, state] of own(parseQueue(queued.stdout))) {
      const ended = tasks.get(task);
      tasks.set(task, isLive(state) || ended === undefined || isLive(ended) ? state : ended);
    }
  } else if (!/Invalid job id/i.test(queued.stderr)) {
    throw commandError('squeue', queued);
  }
  return tasks;
}

/** A row of what a command prints of tasks. */
export interface TaskRow extends TaskState {
  readonly task: string;
  /** The job's name; empty where it was not told. */
  readonly name: string;
}

/** Tasks in lines `12_4|CANCELLED by 1000|0:15|node3` of sacct; an array that is pending as a whole stands as `12_[4-7]`. */
export function* parseAccounting(text: string): Generator<TaskRow> {
  for (const line of linesOf(text)) {
    const [task, state, exit, node, name = ''] = line.split('|');
    if (!/^\d+_\d+$/.test(task) || !state) continue;
    yield { task, name, state: state.split(' ')[0], node: nodeName(node), reason: describeExit(exit) };
  }
}

/** Tasks in lines `12_4|RUNNING|node3|None` of squeue. */
export function* parseQueue(text: string): Generator<TaskRow> {
  for (const line of linesOf(text)) {
    const [task, state, node, reason, name = ''] = line.split('|');
    if (!/^\d+_\d+$/.test(task) || !state) continue;
    yield { task, name, state, node: nodeName(node), reason: reason === 'None' ? '' : (reason ?? '') };
  }
}

/** Tasks in lines `JobId=13 ArrayJobId=12 ArrayTaskId=4 JobState=FAILED Reason=NonZeroExitCode ...` of scontrol. */
export function* parseControllerJobs(text: string): Generator<TaskRow> {
  for (const line of linesOf(text)) {
    const field = (name: string) => new RegExp(`(?:^| )${name}=(\\S+)`).exec(line)?.[1];
    const [array, task, state] = [field('ArrayJobId'), field('ArrayTaskId'), field('JobState')];
    if (array === undefined || state === undefined || !/^\d+$/.test(task ?? '')) continue;
    yield {
      task: `${array}_${task}`,
      name: field('JobName') ?? '',
      state,
      node: nodeName(field('NodeList')),
      reason: describeExit(field('ExitCode')),
    };
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

/**
 * Looks in the queue for the number of an array that has none yet, by its name, in the clusters it was to go to.
 *
 * @returns none when it is not there; several when a site prints other numbers, which the caller tells from it
 * @throws KdSpecError `slurm-failed` when the queue cannot be read: the array may be there
 */
export async function findByName(
  run: RunCommand,
  { name, cluster }: SlurmArray,
): Promise<readonly { readonly jobId: string; readonly cluster: string | null }[]> {
  const named = new Map<string, string | null>();
  const bare = new Map<string, string | null>(); // numbers alone, where a site's squeue prints columns of its own
  for (const place of cluster?.split(',') ?? [null]) {
    const words = ['-h', '-t', 'all', `--name=${name}`, '-o', '%F|%j', ...clusterWords(place)];
    let there = place;
    for (const line of linesOf(await slurmOutput(run, 'squeue', words))) {
      there = /^CLUSTER: (\S+)$/.exec(line)?.[1] ?? there; // printed where all clusters are asked for
      const [jobId, title] = line.split('|');
      if (!/^\d+$/.test(jobId) || (title !== undefined && title !== name)) continue;
      const jobs = title === name ? named : bare;
      if (!jobs.has(jobId)) jobs.set(jobId, there);
    }
  }
  const found = named.size > 0 ? named : bare;
  return [...found].map(([jobId, there]) => ({ jobId, cluster: there }));
}

/**
 * Finds the numbers of arrays that were submitted by a coordinator that did not live to write them down.
 *
 * @throws KdSpecError `slurm-failed` when the queue cannot be read, or names several: nothing is to be submitted then
 */
export async function findLostArrays(run: RunCommand, state: SlurmState): Promise<SlurmState> {
  const arrays: SlurmArray[] = [];
  for (const array of state.arrays) {
    if (array.jobId !== null) {
      arrays.push(array);
      continue;
    }
    const found = await findByName(run, array);
    if (found.length > 1) {
      throw new KdSpecError(
        'slurm-failed',
        `expected one job named ${array.name} from squeue, got ${found.map(({ jobId }) => jobId).join(', ')}: ` +
          `see which of them squeue --name=${array.name} shows, and end the others with scancel`,
      );
    }
    if (found.length === 1) arrays.push({ ...array, ...found[0] });
  }
  return { ...state, arrays };
}
