/**
 * Section 6 of the paper: soft targets as a regulariser when there are few data. Goes on in the workspaces of
 * `distil-idx.ts`, whose teacher saw all images.
 *
 *     npm run build && npx tsx scripts/results/distil-few.ts --share 0.03 --seeds 1,2,3
 */
import { parseArgs } from 'node:util';
import { type FewResult, renderFewPage } from './distillation/few-page.js';
import { hardStudent, idxOptions, idxRuns, seedsOf } from './distillation/idx-runs.js';
import { writeResult } from './distillation/write-result.js';

const { values } = parseArgs({
  options: {
    ...idxOptions,
    share: { type: 'string', default: '0.03' },
    'few-epochs': { type: 'string', default: '60' },
    'few-batch': { type: 'string', default: '64' },
    temperature: { type: 'string', default: '4' },
  },
});

const result: FewResult = {
  settings: { ...values },
  seeds: seedsOf(values).map((seed) => {
    const distill = idxRuns(values, seed);
    const few = {
      'transfer-share': values.share,
      'student-epochs': values['few-epochs'],
      'student-batch-size': values['few-batch'],
      curve: 'true',
    };
    return {
      seed,
      full: hardStudent(distill),
      hard: distill('few data, hard', { objective: 'labels', ...few }),
      soft: distill('few data, soft', { temperature: values.temperature, ...few }),
    };
  }),
};
writeResult(values.out, 'distil-few', result, renderFewPage);
