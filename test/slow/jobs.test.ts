import { engineContract, engineNames } from '../support/engine-contract.js';

engineContract(engineNames.filter((name) => name === 'jobs started by hand' || name === 'Slurm'));
