import { describe, test } from 'vitest';
import { createRandom } from '../../src/core/random.js';
import { expectAgreement, randomEnsemble } from '../support/fusion-graphs.js';

describe.each([
  { rule: 'combine', dustbinTrust: 0 },
  { rule: 'combine', dustbinTrust: 0.4 },
  { rule: 'combine', dustbinTrust: 1 },
  { rule: 'combine', dustbinTrust: 0.4, shifts: 2 },
  { rule: 'share-inside', shifts: 2 },
  { rule: 'paper' },
])('graphs of $rule, trust $dustbinTrust, shifts of $shifts', (settings) => {
  test.each([false, true])('compute what fuse() computes, subsets overlapping: %s', async (overlap) => {
    for (let seed = 0; seed < (settings.rule === 'paper' ? 8 : 40); seed++) {
      const random = createRandom('random ensembles', seed);
      const routing =
        random.uniform() < 0.5 ? { top: 1 + random.below(5) } : { mass: 0.3 * random.uniform() };
      await expectAgreement(random, randomEnsemble(random, { ...settings, overlap, routing }));
    }
  });
});
