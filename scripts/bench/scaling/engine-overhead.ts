/**
 * Trains some specialists of a workspace with nothing around the training, then through this process's engine and
 * through a pool of one process, and prints the seconds of each as JSON; see ../scaling.ts, which starts it.
 *
 *     node --import tsx scripts/bench/scaling/engine-overhead.ts WORKSPACE NUMBER
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Engine } from '../../../src/jobs/engine.js';

// Threads and workers are programs of their own, which only the built package has: all is taken from there.
const dist = (path: string) => pathToFileURL(join(import.meta.dirname, '..', '..', '..', 'dist', path)).href;
const { selectBackend }: typeof import('../../../src/compute/backend.js') = await import(
  dist('compute/backend.js')
);
const { silentLog }: typeof import('../../../src/core/log.js') = await import(dist('core/log.js'));
const { openDataset }: typeof import('../../../src/data/dataset.js') = await import(dist('data/dataset.js'));
const { trainSpecialist }: typeof import('../../../src/ensemble/specialist/train-specialist.js') =
  await import(dist('ensemble/specialist/train-specialist.js'));
const { inProcess }: typeof import('../../../src/jobs/in-process.js') = await import(
  dist('jobs/in-process.js')
);
const { createPool }: typeof import('../../../src/jobs/pool/pool.js') = await import(
  dist('jobs/pool/pool.js')
);
const { trainMissing }: typeof import('../../../src/jobs/train-missing.js') = await import(
  dist('jobs/train-missing.js')
);
const { jobsFolder, readWork }: typeof import('../../../src/jobs/jobs-folder.js') = await import(
  dist('jobs/jobs-folder.js')
);
const { loadGeneralist }: typeof import('../../../src/models/checkpoint.js') = await import(
  dist('models/checkpoint.js')
);

const [workspace, number] = process.argv.slice(2);
const whole = await readWork(jobsFolder(workspace));
const work = { ...whole, subsets: whole.subsets.slice(0, Number(number)) };
const signal = new AbortController().signal;
const folder = join(workspace, 'overhead');
async function bare(): Promise<void> {
  const { operations } = await selectBackend(work.backend);
  const generalist = await loadGeneralist(work.generalist, operations);
  const dataset = await openDataset(work.dataset);
  const labelCounts = Int32Array.from(work.labelCounts);
  for (const subset of work.subsets) {
    const directory = join(folder, String(subset.id));
    await mkdir(directory, { recursive: true });
    const ingredients = { subset, generalist, dataset, labelCounts, features: work.features };
    await trainSpecialist(ingredients, work.training, { directory, log: silentLog, signal });
  }
  generalist.dispose();
}

const through = (engine: Engine) => async () => {
  const { failed } = await trainMissing(engine, { ...work, directory: folder }, { log: silentLog, signal });
  if (failed.length > 0) throw new Error(failed[0].reason);
};

async function seconds(action: () => Promise<void>): Promise<number> {
  await rm(folder, { recursive: true, force: true });
  const startMs = performance.now();
  await action();
  return (performance.now() - startMs) / 1000;
}

await seconds(bare); // the backend is loaded, kernels are compiled
const pool = createPool({ workers: 1, memoryMegabytes: 8192 }, { hangSeconds: 900 });
const measured = {
  bare: await seconds(bare),
  'this process': await seconds(through(inProcess)),
  'a pool of one process': await seconds(through(pool)),
};
await rm(folder, { recursive: true, force: true });
console.log(JSON.stringify(measured));
