import { engineContract } from './support/engine-contract.js';

// A pool of processes, jobs started by hand, and Slurm: test/slow/jobs.test.ts.
engineContract(['this process'], { interrupted: ['this process'] });
