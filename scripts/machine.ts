import { availableParallelism, cpus, loadavg } from 'node:os';

/** What a measurement ran on. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly node: string;
  /** Mean number of processes that wanted a core. */
  readonly load: number;
}

/** @param minutes over which the load is the mean */
export function describeMachine(minutes: 1 | 5 | 15): Machine {
  return {
    processor: cpus()[0].model,
    cores: availableParallelism(),
    node: process.versions.node,
    load: loadavg()[[1, 5, 15].indexOf(minutes)],
  };
}
