import { interruptedGeneralist } from './support/interrupted-training.js';

// The other signals, kills, and pools: test/slow/interruption.test.ts.
interruptedGeneralist([['SIGTERM', 75, []]], { epochs: 7 });
