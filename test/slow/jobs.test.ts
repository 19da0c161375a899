import { engineContract, engineNames } from '../support/engine-contract.js';

// scripts/slurm-test.sh runs this for Slurm alone.
if (engineNames.includes('Slurm')) engineContract(['Slurm']);
else
  engineContract(['a pool of two processes', 'jobs started by hand'], {
    interrupted: ['jobs started by hand', 'a pool of two processes'],
  });
