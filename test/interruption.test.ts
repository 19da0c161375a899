import { interruptedGeneralist, interruptedPool } from './support/interrupted-training.js';

// The other signals, and kills: test/slow/interruption.test.ts.
interruptedGeneralist([['SIGTERM', 75, []]]);
interruptedPool(['SIGINT']);
