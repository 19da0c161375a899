import type { SlurmOptions } from '../../src/jobs/slurm/slurm-options.js';

/** Options that leave everything to the cluster. */
export const plainSlurm: SlurmOptions = {
  partition: null,
  account: null,
  time: null,
  memory: null,
  cpus: 1,
  gpus: 0,
  atMost: null,
  options: null,
  setup: null,
};
