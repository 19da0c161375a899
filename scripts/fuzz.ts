/**
 * Damages files of every kind that users bring, at random, and reads them: each must give a result or a `KdSpecError`.
 *
 *     npx tsx scripts/fuzz.ts                       # 10,000 files
 *     npx tsx scripts/fuzz.ts --files 500 --seed 7
 *     npx tsx scripts/fuzz.ts --kind PNG --first 123 --files 1   # one run again
 *
 * Exit code 1 when anything else happened: another exception, a hang, or more memory than a gigabyte.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fuzz, inputKinds } from '../test/support/mutated-inputs.js';

const { values: flags } = parseArgs({
  options: {
    files: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
    first: { type: 'string', default: '0' },
    kind: { type: 'string' },
  },
});
const memoryLimitBytes = 2 ** 30;

const folder = await mkdtemp(join(tmpdir(), 'kd-spec-fuzz-'));
let defects = 0;
let files = 0;
try {
  const kinds = (await inputKinds(folder)).filter(
    ({ name }) => flags.kind === undefined || name === flags.kind,
  );
  const runs = Math.ceil(Number(flags.files) / kinds.length);
  for (const kind of kinds) {
    const outcome = await fuzz(kind, { runs, seed: Number(flags.seed), first: Number(flags.first) });
    const { refused, slowestMs } = outcome;
    console.log(
      `${kind.name.padEnd(34)} ${runs} files: ${refused} refused, ${runs - refused - outcome.defects.length} read, ` +
        `${outcome.defects.length} defects; the slowest took ${slowestMs.toFixed(0)} ms`,
    );
    for (const { run, what } of outcome.defects.slice(0, 5)) console.log(`  run ${run}: ${what}`);
    defects += outcome.defects.length;
    files += runs;
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
const peakBytes = process.resourceUsage().maxRSS * 1024;
console.log(`${files} files, ${defects} defects, at most ${(peakBytes / 2 ** 30).toFixed(2)} GB of memory`);
if (defects > 0 || peakBytes > memoryLimitBytes) process.exitCode = 1;
