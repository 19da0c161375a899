import { interruptedGeneralist, interruptedPool } from '../support/interrupted-training.js';

interruptedGeneralist([
  ['SIGTERM', 75, []],
  ['SIGINT', 130, []],
  ['SIGKILL', null, ['--checkpoint-seconds', '1']],
]);
interruptedPool(['SIGINT', 'SIGTERM', 'a coordinator that was killed', 'a worker that was killed']);
