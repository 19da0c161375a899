/**
 * Clustering of sparse columns: ours, scikit-learn's MiniBatchKMeans and faiss's spherical k-means on one matrix.
 *
 *     npm run build && npx tsx scripts/bench/clustering.ts
 *     npx tsx scripts/bench/clustering.ts --columns 1000000 --clusters 3000 --seeds 1 --others none
 *     npx tsx scripts/bench/clustering.ts --python /path/to/python   # one that has scikit-learn and faiss-cpu
 *
 * `--json` prints one object instead. Without `--python` a Python environment is made in a temporary folder.
 *
 * The columns are what a generalist with planted groups of confused classes would give: most of a column's
 * entries lie in its class's group, of uneven sizes, the rest anywhere.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { CsrMatrix } from '../../src/math/csr.js';
import { createCsrBuilder } from '../../src/math/csr.js';
import { preparePoints } from '../../src/math/kmeans/centroids.js';
import { adjustedRandIndex, plantGroups } from './planted-groups.js';

// What is built, as users run it: its threads cannot load TypeScript.
const built = new URL('../../dist/math/kmeans/online-kmeans.js', import.meta.url).href;
const { onlineKMeans } = (await import(built)) as typeof import('../../src/math/kmeans/online-kmeans.js');

const { values: flags } = parseArgs({
  options: {
    columns: { type: 'string', default: '15000' },
    clusters: { type: 'string', default: '300' },
    entries: { type: 'string', default: '80' }, // drawn for a column on average; some fall together
    inside: { type: 'string', default: '0.9' }, // share of them inside the column's own group
    seeds: { type: 'string', default: '3' },
    threads: { type: 'string' },
    others: { type: 'string', default: 'scikit-learn,faiss-cpu' },
    python: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const size = Number(flags.columns);
const clusters = Number(flags.clusters);
const threads = flags.threads === undefined ? {} : { threads: Number(flags.threads) };

const say = (line: string) => {
  if (!flags.json) console.log(line);
};

const load = loadavg()[0];
const { matrix, groupOf } = plantedColumns(size, clusters);
const nonZeros = matrix.indices.length / size;
say(`${size} columns of ${nonZeros.toFixed(1)} non-zeros on average, ${clusters} planted groups`);
onlineKMeans(plantedColumns(2000, 20).matrix, { clusters: 20, seed: 0 }); // compile

const ours = Array.from({ length: Number(flags.seeds) }, (_, seed) => {
  const started = performance.now();
  const cpuStarted = process.cpuUsage();
  const { assignments } = onlineKMeans(matrix, { clusters, seed, ...threads });
  const { user, system } = process.cpuUsage(cpuStarted);
  const seconds = (performance.now() - started) / 1000;
  return report(`kd-spec, seed ${seed}`, assignments, seconds, (user + system) / 1e6);
});
const peakGigabytes = process.resourceUsage().maxRSS / 2 ** 20;
const others = flags.others === 'none' ? {} : measureOthers(flags.others.split(','));

for (const [name, { runs, peakGigabytes: theirs }] of Object.entries(others)) {
  const ratio = (key: keyof Measured) => mean(runs, key) / mean(ours, key);
  say(`\nkd-spec against ${name}, means:`);
  say(`  ${ratio('seconds').toFixed(1)} times faster by the clock`);
  say(`  ${ratio('cpuSeconds').toFixed(1)} times less processor time`);
  say(`  inertia ${(1 / ratio('inertia')).toFixed(4)} of theirs`);
  say(`  agreement ${mean(ours, 'agreement').toFixed(4)} against ${mean(runs, 'agreement').toFixed(4)}`);
  say(`  largest memory ${peakGigabytes.toFixed(2)} GB against ${theirs.toFixed(2)} GB`);
}
say(`\nlargest memory: ${peakGigabytes.toFixed(2)} GB, the matrix and its making included`);
if (flags.json) {
  const machine = { processor: cpus()[0].model, cores: availableParallelism(), node: process.version, load };
  const of = { columns: size, clusters, nonZeros };
  console.log(JSON.stringify({ machine, ...of, kdSpec: ours, others, peakGigabytes }, null, 2));
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
  const agreement = adjustedRandIndex(assignments, groupOf);
  say(
    `${name.padEnd(22)} ${seconds.toFixed(3)} s (${cpuSeconds.toFixed(3)} s of processor)   inertia ${inertia.toFixed(1)}   agreement ${agreement.toFixed(4)}`,
  );
  return { seconds, cpuSeconds, inertia, agreement };
}

/** Columns (columns, columns), a column a row, and the group of each. */
function plantedColumns(columns: number, groups: number): { matrix: CsrMatrix; groupOf: Int32Array } {
  const { groupOf, confuse, random } = plantGroups(columns, groups);
  const builder = createCsrBuilder(columns, { entries: columns * Number(flags.entries) });
  const lastColumn = new Int32Array(columns).fill(-1);
  for (let column = 0; column < columns; column++) {
    const indices: number[] = [];
    const values: number[] = [];
    const count = Math.round(Number(flags.entries) * (0.5 + random.uniform()));
    for (let k = 0; k < count; k++) {
      const row = confuse(column, Number(flags.inside));
      if (lastColumn[row] === column) continue;
      lastColumn[row] = column;
      indices.push(row);
      values.push((groupOf[row] === groupOf[column] ? 1 : 0.7) * -Math.log(1 - random.uniform()));
    }
    builder.addRow(indices, values, indices.length);
  }
  return { matrix: builder.finish(), groupOf };
}

/** Sum of |x - mean of its cluster|² over the columns as unit vectors: what all programs lower. */
function inertiaOf(assignments: Int32Array): number {
  const { scales } = preparePoints(matrix, 'cosine');
  const members: number[][] = [];
  assignments.forEach((cluster, column) => {
    members[cluster] ??= [];
    members[cluster].push(column);
  });
  const sums = new Float64Array(matrix.columns); // all 0 between clusters
  let inertia = 0;
  for (const columns of members) {
    if (columns === undefined) continue;
    for (const column of columns) {
      for (let k = matrix.offsets[column]; k < matrix.offsets[column + 1]; k++) {
        sums[matrix.indices[k]] += scales[column] * matrix.values[k];
      }
    }
    let squares = 0;
    for (const column of columns) {
      for (let k = matrix.offsets[column]; k < matrix.offsets[column + 1]; k++) {
        squares += sums[matrix.indices[k]] ** 2;
        sums[matrix.indices[k]] = 0;
      }
    }
    inertia += columns.length - squares / columns.length;
  }
  return inertia;
}

interface Others {
  readonly version: string;
  readonly runs: readonly Measured[];
  /** Of the process, Python and the matrix included. */
  readonly peakGigabytes: number;
}

/** Runs `clustering_others.py` beside this file on the matrix, a process each, in a folder that is removed afterwards. */
function measureOthers(names: readonly string[]): Record<string, Others> {
  const scripts = join(import.meta.dirname, '..');
  const python =
    flags.python ??
    execFileSync(join(scripts, 'python-venv.sh'), [
      join(tmpdir(), 'kd-spec-bench-python'),
      ...['scikit-learn', 'faiss-cpu', 'numpy', 'scipy'],
    ])
      .toString()
      .trim();
  const folder = mkdtempSync(join(tmpdir(), 'kd-spec-bench-'));
  try {
    writeFileSync(join(folder, 'offsets.i32'), matrix.offsets);
    writeFileSync(join(folder, 'indices.i32'), matrix.indices);
    writeFileSync(join(folder, 'values.f32'), matrix.values);
    const script = join(scripts, 'bench/clustering_others.py');
    // OpenBLAS is to choose the kernels for this processor itself.
    const env = { ...process.env };
    delete env.OPENBLAS_CORETYPE;
    delete env.OPENBLAS_L2_SIZE;
    return Object.fromEntries(
      names.map((name) => {
        const output = execFileSync(
          python,
          [script, folder, String(size), String(clusters), flags.seeds, name],
          { maxBuffer: 2 ** 30, env },
        );
        const measured: Omit<Others, 'runs'> & {
          runs: { seconds: number; cpuSeconds: number; assignments: number[] }[];
        } = JSON.parse(output.toString());
        const runs = measured.runs.map(({ seconds, cpuSeconds, assignments }, seed) =>
          report(`${name}, seed ${seed}`, Int32Array.from(assignments), seconds, cpuSeconds),
        );
        return [name, { ...measured, runs }];
      }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}
