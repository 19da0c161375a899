/** How an engine hands out jobs, in seconds. */
export interface Scheduling {
  /** From the start of the coordinator until the first job can begin, once. */
  readonly beforeFirst: number;
  /** Of a worker that stays, once for each. */
  readonly workerStart: number;
  /** Of every job beside its training: a process start, the wait until a freed place is taken. */
  readonly perJob: number;
  /** Of the coordinator for each job: it does one thing at a time, and a worker waits for it. */
  readonly coordinatorPerJob: number;
  /** Of the coordinator when all jobs have ended. */
  readonly afterLast: number;
}

/** What a simulated run came to. */
export interface SimulatedRun {
  readonly workers: number;
  readonly seconds: number;
  /** Work done in these seconds against what the workers could have done, from 0 to 1. */
  readonly efficiency: number;
  /** Seconds in which the coordinator worked. */
  readonly coordinatorSeconds: number;
}

/**
 * Plays a run: each job goes, in order, to the worker that is free first.
 *
 * @param jobs seconds of training of each job
 * Cost: O(jobs log workers).
 */
export function simulate(jobs: readonly number[], workers: number, scheduling: Scheduling): SimulatedRun {
  const { beforeFirst, workerStart, perJob, coordinatorPerJob, afterLast } = scheduling;
  // A binary heap of the times at which workers are free, the earliest first.
  const free = new Float64Array(workers).fill(beforeFirst + workerStart);
  let coordinatorFree = beforeFirst;
  let end = beforeFirst;
  for (const seconds of jobs) {
    const handedOut = Math.max(free[0], coordinatorFree) + coordinatorPerJob;
    coordinatorFree = handedOut;
    free[0] = handedOut + perJob + seconds;
    end = Math.max(end, free[0]);
    siftDown(free);
  }
  const total = end + afterLast;
  const work = jobs.reduce((sum, seconds) => sum + seconds, 0);
  return {
    workers,
    seconds: total,
    efficiency: work / (workers * total),
    coordinatorSeconds: beforeFirst + jobs.length * coordinatorPerJob + afterLast,
  };
}

function siftDown(heap: Float64Array): void {
  let parent = 0;
  for (;;) {
    const left = 2 * parent + 1;
    const right = left + 1;
    let least = parent;
    if (left < heap.length && heap[left] < heap[least]) least = left;
    if (right < heap.length && heap[right] < heap[least]) least = right;
    if (least === parent) return;
    [heap[parent], heap[least]] = [heap[least], heap[parent]];
    parent = least;
  }
}
