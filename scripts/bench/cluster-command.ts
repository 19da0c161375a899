/**
 * `kd-spec cluster --predictions` on generated predictions, as a user runs it: time, memory and agreement.
 *
 *     npm run build && npx tsx scripts/bench/cluster-command.ts
 *     npx tsx scripts/bench/cluster-command.ts --classes 15000 --clusters 300 --rows 150000
 *
 * `--json` prints one object instead. The predictions are those of a generalist that confuses the classes of
 * planted groups, of uneven sizes: the top k of each row hold classes of the label's group, a tenth of them
 * any class. Making them is outside of the times; reading them, the affinity, clustering, balancing,
 * the summary and writing are inside.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createPredictionWriter } from '../../src/data/predictions.js';
import { createCsrBuilder } from '../../src/math/csr.js';
import { adjustedRandIndex, plantGroups } from './planted-groups.js';

const { values: flags } = parseArgs({
  options: {
    classes: { type: 'string', default: '1000000' },
    clusters: { type: 'string', default: '3000' },
    rows: { type: 'string', default: '1000000' },
    top: { type: 'string', default: '20' }, // classes drawn for a row; some fall together
    inside: { type: 'string', default: '0.9' }, // share of them inside the label's group
    affinity: { type: 'string', default: 'covariance' },
    folder: { type: 'string', default: tmpdir() }, // where predictions and workspace lie meanwhile
    json: { type: 'boolean', default: false },
  },
});
const classes = Number(flags.classes);
const clusters = Number(flags.clusters);
const rowCount = Number(flags.rows);

const folder = await mkdtemp(join(flags.folder, 'kd-spec-bench-'));
try {
  const groupOf = await writePredictions(join(folder, 'predictions'));
  const load = loadavg()[0];
  const { seconds, cpuSeconds, peakGigabytes, output } = await runCluster();
  const subsets = JSON.parse(await readFile(output.subsets, 'utf8'));
  const found = new Int32Array(classes).fill(-1);
  for (const { id, classes: labels } of subsets.subsets) for (const label of labels) found[label] = id;
  const { seconds: stages, inertia, coverage, confusionInside, sizes, entries } = output;
  const result = {
    machine: { processor: cpus()[0].model, cores: availableParallelism(), node: process.version, load },
    ...{ classes, clusters, rows: rowCount, top: Number(flags.top), affinity: flags.affinity, entries },
    ...{ seconds, cpuSeconds, stages, peakGigabytes, inertia, coverage, confusionInside, sizes },
    agreement: adjustedRandIndex(found, groupOf),
  };
  if (flags.json) console.log(JSON.stringify(result, null, 2));
  else {
    console.log(`${rowCount} rows over ${classes} classes into ${clusters} subsets, ${flags.affinity}`);
    console.log(
      `the command took ${seconds.toFixed(1)} s (${cpuSeconds.toFixed(1)} s of processor) and at most ${peakGigabytes.toFixed(2)} GB`,
    );
    console.log(`  affinity ${stages.affinity.toFixed(1)} s, clustering ${stages.clustering.toFixed(1)} s`);
    console.log(`  ${entries} entries, inertia ${inertia.toFixed(1)}, coverage ${coverage}`);
    console.log(
      `  sizes from ${sizes.least} to ${sizes.most}, confusion inside ${confusionInside.toFixed(4)}`,
    );
    console.log(`  agreement with the planted groups ${result.agreement.toFixed(4)}`);
  }
} finally {
  await rm(folder, { recursive: true });
}

/** Rows of predictions, in shards; returns the planted group of each class. */
async function writePredictions(directory: string): Promise<Int32Array> {
  const { groupOf, confuse, random } = plantGroups(classes, clusters);
  const writer = createPredictionWriter(directory, { classes });
  const lastRow = new Int32Array(classes).fill(-1);
  const perBatch = 4096;
  for (let first = 0; first < rowCount; first += perBatch) {
    const rows = Math.min(perBatch, rowCount - first);
    const builder = createCsrBuilder(classes, { entries: rows * Number(flags.top) });
    const labels = new Int32Array(rows);
    for (let row = 0; row < rows; row++) {
      const label = (first + row) % classes;
      labels[row] = label;
      const indices = [label];
      const masses = [-2 * Math.log(1 - random.uniform())];
      lastRow[label] = first + row;
      while (indices.length < Number(flags.top) && indices.length < classes) {
        const other = confuse(label, Number(flags.inside));
        const isNew = lastRow[other] !== first + row;
        lastRow[other] = first + row;
        if (isNew) indices.push(other);
        else if (random.uniform() < 0.1) break; // a small group may have no more
        if (isNew) masses.push(-Math.log(1 - random.uniform()));
      }
      const total = 1.02 * masses.reduce((sum, mass) => sum + mass, 0);
      const order = [...indices.keys()].sort((a, b) => masses[b] - masses[a]);
      builder.addRow(
        order.map((k) => indices[k]),
        order.map((k) => masses[k] / total),
        indices.length,
      );
    }
    await writer.write({ probabilities: builder.finish(), labels });
  }
  await writer.close();
  return groupOf;
}

/** Runs the built command line in a process of its own. */
async function runCluster() {
  const main = resolve(import.meta.dirname, '../../dist/cli/main.js');
  const workspace = join(folder, 'workspace');
  const sampled = [join(folder, 'predictions'), '--clusters', flags.clusters, '--affinity', flags.affinity];
  const started = performance.now();
  const child = spawn(
    process.execPath,
    [main, 'cluster', '--json', '--workspace', workspace, '--predictions', ...sampled],
    { stdio: ['ignore', 'pipe', flags.json ? 'ignore' : 'inherit'] },
  );
  let peakKilobytes = 0;
  let ticks = 0; // of 10 ms, of all threads
  const watch = setInterval(async () => {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
    peakKilobytes = Math.max(peakKilobytes, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0));
    const stat = await readFile(`/proc/${child.pid}/stat`, 'utf8').catch(() => '');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // from the third, state
    ticks = Math.max(ticks, Number(fields[11] ?? 0) + Number(fields[12] ?? 0));
  }, 100);
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk) => chunks.push(chunk));
  const code = await new Promise((done) => child.on('close', done));
  clearInterval(watch);
  if (code !== 0) throw new Error(`kd-spec cluster ended with exit code ${code}`);
  return {
    seconds: (performance.now() - started) / 1000,
    cpuSeconds: ticks / 100,
    peakGigabytes: peakKilobytes / 2 ** 20,
    output: JSON.parse(Buffer.concat(chunks).toString()),
  };
}
