/**
 * Clustering of sparse columns: ours, and on request scikit-learn's MiniBatchKMeans on the same matrix.
 *
 *     npx tsx scripts/bench/clustering.ts
 *     npx tsx scripts/bench/clustering.ts --python /path/to/python   # one that has scikit-learn
 *     npx tsx scripts/bench/clustering.ts --columns 1000000 --clusters 3000
 *
 * `--json` prints one object instead.
 *
 * The columns are what a generalist with planted groups of confused classes would give: most of a column's
 * entries lie in its class's group, of uneven sizes, the rest anywhere.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createRandom } from '../../src/core/random.js';
import type { CsrMatrix } from '../../src/math/csr.js';
import { createCsrBuilder } from '../../src/math/csr-builder.js';
import { preparePoints } from '../../src/math/kmeans-points.js';
import { onlineKMeans } from '../../src/math/online-kmeans.js';

const { values: flags } = parseArgs({
  options: {
    columns: { type: 'string', default: '15000' },
    clusters: { type: 'string', default: '300' },
    entries: { type: 'string', default: '80' }, // drawn for a column on average; some fall together
    inside: { type: 'string', default: '0.9' }, // share of them inside the column's own group
    seeds: { type: 'string', default: '3' },
    python: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const size = Number(flags.columns);
const clusters = Number(flags.clusters);

const say = (line: string) => {
  if (!flags.json) console.log(line);
};

const load = loadavg()[0];
const { matrix, groups } = plantedColumns();
const nonZeros = matrix.indices.length / size;
say(`${size} columns of ${nonZeros.toFixed(1)} non-zeros on average, ${clusters} planted groups`);
onlineKMeans(plantedColumns(2000, 20).matrix, { clusters: 20, seed: 0 }); // compile

const ours = Array.from({ length: Number(flags.seeds) }, (_, seed) => {
  const started = performance.now();
  const cpuStarted = process.cpuUsage();
  const { assignments } = onlineKMeans(matrix, { clusters, seed });
  const { user, system } = process.cpuUsage(cpuStarted);
  const seconds = (performance.now() - started) / 1000;
  return report(`kd-spec, seed ${seed}`, assignments, seconds, (user + system) / 1e6);
});
const peakGigabytes = process.resourceUsage().maxRSS / 2 ** 20;
const theirs = flags.python === undefined ? [] : scikitLearn(flags.python);

if (theirs.length > 0) {
  const ratio = (key: keyof Measured) => mean(theirs, key) / mean(ours, key);
  say('\nkd-spec against scikit-learn, means:');
  say(`  ${ratio('seconds').toFixed(1)} times faster by the clock`);
  say(`  ${ratio('cpuSeconds').toFixed(1)} times less processor time`);
  say(`  inertia ${(1 / ratio('inertia')).toFixed(4)} of theirs`);
  say(`  agreement ${mean(ours, 'agreement').toFixed(4)} against ${mean(theirs, 'agreement').toFixed(4)}`);
}
say(`\nlargest memory: ${peakGigabytes.toFixed(2)} GB`);
if (flags.json) {
  const machine = { processor: cpus()[0].model, cores: availableParallelism(), node: process.version, load };
  const of = { columns: size, clusters, nonZeros };
  console.log(JSON.stringify({ machine, ...of, kdSpec: ours, scikitLearn: theirs, peakGigabytes }, null, 2));
}

function mean(rows: readonly Measured[], key: keyof Measured): number {
  return rows.reduce((sum, row) => sum + row[key], 0) / rows.length;
}

interface Measured {
  readonly seconds: number;
  readonly cpuSeconds: number; // of all threads: what counts on a machine that is busy otherwise
  readonly inertia: number;
  readonly agreement: number;
}

/** One line: seconds, inertia about the means of the unit columns, agreement with the planted groups. */
function report(name: string, assignments: Int32Array, seconds: number, cpuSeconds: number): Measured {
  const inertia = inertiaOf(assignments);
  const agreement = adjustedRandIndex(assignments, groups);
  say(
    `${name.padEnd(22)} ${seconds.toFixed(3)} s (${cpuSeconds.toFixed(3)} s of processor)   inertia ${inertia.toFixed(1)}   agreement ${agreement.toFixed(4)}`,
  );
  return { seconds, cpuSeconds, inertia, agreement };
}

/** Columns (columns, columns), a column a row, and the group of each. */
function plantedColumns(columns = size, groupCount = clusters): { matrix: CsrMatrix; groups: Int32Array } {
  const random = createRandom(1, 'bench-clustering', columns, groupCount);
  const weights = Float64Array.from({ length: groupCount }, () => 0.2 + random.uniform());
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const groups = new Int32Array(columns);
  const bounds = [0]; // of the classes of each group
  for (let group = 0, sum = 0; group < groupCount; group++) {
    sum += weights[group];
    bounds.push(Math.round((columns * sum) / total));
    groups.fill(group, bounds[group], bounds[group + 1]);
  }
  const names = random.shuffle(Int32Array.from({ length: columns }, (_, column) => column));
  const builder = createCsrBuilder(columns, { entries: columns * Number(flags.entries) });
  const lastColumn = new Int32Array(columns).fill(-1);
  for (let column = 0; column < columns; column++) {
    const first = bounds[groups[column]];
    const members = bounds[groups[column] + 1] - first;
    const indices: number[] = [];
    const values: number[] = [];
    const count = Math.round(Number(flags.entries) * (0.5 + random.uniform()));
    for (let k = 0; k < count; k++) {
      const isInside = random.uniform() < Number(flags.inside);
      const row = names[isInside ? first + random.below(members) : random.below(columns)];
      if (lastColumn[row] === column) continue;
      lastColumn[row] = column;
      indices.push(row);
      values.push((isInside ? 1 : 0.7) * -Math.log(1 - random.uniform()));
    }
    builder.addRow(indices, values, indices.length);
  }
  return { matrix: builder.finish(), groups };
}

/** Sum of |x - mean of its cluster|² over the columns as unit vectors: what both programs lower. */
function inertiaOf(assignments: Int32Array): number {
  const { scales } = preparePoints(matrix, 'cosine');
  const members: number[][] = [];
  assignments.forEach((cluster, column) => {
    members[cluster] ??= [];
    members[cluster].push(column);
  });
  const sums = new Float64Array(matrix.columns);
  let inertia = 0;
  for (const columns of members) {
    if (columns === undefined) continue;
    sums.fill(0);
    for (const column of columns) {
      for (let k = matrix.offsets[column]; k < matrix.offsets[column + 1]; k++) {
        sums[matrix.indices[k]] += scales[column] * matrix.values[k];
      }
    }
    inertia += columns.length - sums.reduce((sum, value) => sum + value * value, 0) / columns.length;
  }
  return inertia;
}

/** Agreement of two labellings: 1 for the same partition, 0 on average for random ones. */
function adjustedRandIndex(a: Int32Array, b: Int32Array): number {
  const pairs = (keys: Float64Array) => {
    let sum = 0;
    for (let k = 0, run = 0; k < keys.length; k++) {
      run = k > 0 && keys[k] === keys[k - 1] ? run + 1 : 0;
      sum += run; // a key that comes n times adds 0 + 1 + ... + (n - 1)
    }
    return sum;
  };
  const rows = pairs(Float64Array.from(a).sort());
  const columns = pairs(Float64Array.from(b).sort());
  const both = pairs(Float64Array.from(a, (label, k) => (label + 1) * 2 ** 32 + b[k]).sort());
  const expected = (rows * columns) / ((a.length * (a.length - 1)) / 2);
  return (both - expected) / ((rows + columns) / 2 - expected);
}

/** Runs `clustering_sklearn.py` beside this file on the matrix, in a folder that is removed afterwards. */
function scikitLearn(python: string): Measured[] {
  const folder = mkdtempSync(join(tmpdir(), 'kd-spec-bench-'));
  try {
    writeFileSync(join(folder, 'offsets.i32'), matrix.offsets);
    writeFileSync(join(folder, 'indices.i32'), matrix.indices);
    writeFileSync(join(folder, 'values.f32'), matrix.values);
    const script = join(import.meta.dirname, 'clustering_sklearn.py');
    const output = execFileSync(python, [script, folder, String(size), String(clusters), flags.seeds], {
      maxBuffer: 2 ** 30,
    });
    const runs: { seconds: number; cpuSeconds: number; assignments: number[] }[] = JSON.parse(
      output.toString(),
    );
    return runs.map(({ seconds, cpuSeconds, assignments }, seed) =>
      report(`scikit-learn, seed ${seed}`, Int32Array.from(assignments), seconds, cpuSeconds),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}
