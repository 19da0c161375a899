import { engineContract } from './support/engine-contract.js';

// Jobs started by hand, and on Slurm, and a pool that is interrupted: test/slow/jobs.test.ts.
engineContract(['this process', 'a pool of two processes'], { interrupted: ['this process'] });
