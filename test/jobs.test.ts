import { engineContract } from './support/engine-contract.js';

// Jobs started by hand, and on Slurm: test/slow/jobs.test.ts.
engineContract(['this process', 'a pool of two processes']);
