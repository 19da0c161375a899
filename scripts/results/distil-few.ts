/**
 * Section 6 of the paper: soft targets as a regulariser when there are few data. Goes on in the workspaces of
 * `distil-idx.ts`, whose teacher saw all images.
 *
 *     npm run build && npx tsx scripts/results/distil-few.ts --share 0.03 --seeds 1,2,3
 */
import { parseArgs } from 'node:util';
import { type FewResult, renderFewPage } from './distillation/few-page.js';
import { hardStudent, idxOptions, idxRuns, seedsOf } from './distillation/idx-runs.js';
import { writeResult } from './write-result.js';

const { values } = parseArgs({
  options: {
    ...idxOptions,
    share: { type: 'string', default: '0.03' },
    'few-epochs': { type: 'string', default: '120' },
    /** Views of each image, moved by up to two pixels, for students that see those; 0: there are none. */
    'few-views': { type: 'string', default: '24' },
    'few-batch': { type: 'string', default: '64' },
    temperature: { type: 'string', default: '4' },
  },
});

const { workspace: _, out, ...settings } = values;
const result: FewResult = {
  settings,
  seeds: seedsOf(values).map((seed) => {
    const distill = idxRuns(values, seed);
    const few = {
      'transfer-share': values.share,
      'student-epochs': values['few-epochs'],
      'student-batch-size': values['few-batch'],
      curve: 'true',
    };
    const { temperature, 'few-views': views } = values;
    const moved = { ...few, 'transfer-views': views };
    return {
      seed,
      full: hardStudent(distill),
      hard: distill('few data, hard', { objective: 'labels', ...few }),
      soft: distill('few data, soft', { temperature, ...few }),
      ...(views !== '0' && {
        hardMoved: distill('few data, moved, hard', { objective: 'labels', ...moved }),
        softMoved: distill('few data, moved, soft', { temperature, ...moved }),
      }),
    };
  }),
};
writeResult(out, 'distil-few', result, renderFewPage);
