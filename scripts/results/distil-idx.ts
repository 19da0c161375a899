/**
 * Section 3 of the paper on IDX data: the table of `docs/results/distil-idx.md`.
 *
 *     npm run build && npx tsx scripts/results/distil-idx.ts --source /usr/share/datasets/fashion-mnist --seeds 1,2,3
 *
 * The teacher is kept in the workspace folder, and every result in `results.json` there: started again, the script goes
 * on. `--epochs`, `--student-epochs` and `--sweep-epochs` make it smaller.
 */
import { parseArgs } from 'node:util';
import { type IdxResult, renderIdxPage, type SeedResult } from './distillation/idx-page.js';
import { hardStudent, idxOptions, idxRuns, seedsOf, teacherRightOf } from './distillation/idx-runs.js';
import { writeResult } from './write-result.js';

const { values } = parseArgs({
  options: {
    ...idxOptions,
    /** The paper's temperature, and others from which validation chooses; none: there are no others. */
    temperature: { type: 'string', default: '20' },
    'other-temperatures': { type: 'string', default: '1,2,4' },
    'sweep-epochs': { type: 'string', default: '5' },
    temperatures: { type: 'string', default: '1,2,4,8,20' },
    'left-out': { type: 'string', default: '3' },
    pair: { type: 'string', default: '7,8' },
    /** Whether the student of hard labels is measured after every epoch, which takes as long as training it. */
    curve: { type: 'string', default: 'true' },
    /** Of the page and of the JSON file beside it. */
    name: { type: 'string', default: 'distil-idx' },
  },
});

async function runSeed(seed: number, { withSweeps }: { readonly withSweeps: boolean }): Promise<SeedResult> {
  const distill = idxRuns(values, seed);
  const { temperature, 'other-temperatures': others } = values;
  const soft = distill(`soft targets at T = ${temperature}`, { temperature });
  const best =
    others === 'none' ? [] : [distill(`soft targets at T = ${others}`, { temperature: others }), soft];
  const [chosen] = best.toSorted((a, b) => a.validation.errors - b.validation.errors);
  const hard = hardStudent(distill, values);
  const leftOut = distill(`one class left out, T = ${temperature}`, {
    temperature,
    'transfer-without': values['left-out'],
  });
  const pair = distill(`two classes only, T = ${temperature}`, {
    temperature,
    'transfer-classes': values.pair,
  });
  const teacherOnLeftOut = await teacherRightOf(values, seed, Number(values['left-out']));
  const result = { seed, hard, soft, ...(chosen && { chosen }), leftOut, teacherOnLeftOut, pair };
  if (!withSweeps) return result;
  const sweep = (units: number) =>
    distill(`sweep of ${units} units`, {
      'student-dense': `${units},${units}`,
      'student-epochs': values['sweep-epochs'],
      temperature: values.temperatures,
    });
  return { ...result, sweeps: { 300: sweep(300), 30: sweep(30) } };
}

const seeds: SeedResult[] = [];
for (const seed of seedsOf(values)) seeds.push(await runSeed(seed, { withSweeps: seeds.length === 0 }));
const { workspace: _, out, ...settings } = values;
const result: IdxResult = { settings, seeds };
writeResult(out, values.name, result, renderIdxPage);
