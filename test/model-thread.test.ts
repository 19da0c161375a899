import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { beforeAll, expect, test } from 'vitest';
import { imageBatches } from '../src/data/batches.js';
import { openDataset } from '../src/data/dataset.js';
import { loadEnsemble } from '../src/ensemble/load-ensemble.js';
import type { ImageBatch } from '../src/models/classifier.js';
import { canTrace } from '../src/serving/batcher.js';
import { tinyFolder } from './fixtures/tiny-workspace.js';
import { classifierContract } from './support/classifier-contract.js';

// A thread runs what is built.
const { openInThread } = (await import(
  new URL('../dist/serving/model-thread.js', import.meta.url).href
)) as typeof import('../src/serving/model-thread.js');

const workspace = join(tinyFolder(), 'kd-workspace');
const source = { kind: 'workspace', path: workspace, backend: 'wasm' } as const;

let batch: ImageBatch;
beforeAll(async () => {
  const { splits, image } = await openDataset(join(workspace, 'dataset'));
  for await (const { images } of imageBatches(splits.test, image, { batchSize: 5 })) {
    batch = { images: images.slice(), count: 5 };
    break;
  }
});

/** Fails the test if the thread ends by itself. */
const onEnd = (error: Error) => {
  throw error;
};

classifierContract('an ensemble in a thread', async () => ({
  classifier: await openInThread(source, { onEnd }),
  batch,
}));

test('a trace from the thread is that of the ensemble, and the caller keeps its arrays', async () => {
  const here = await loadEnsemble(workspace, { backend: 'wasm' });
  const there = await openInThread(source, { onEnd });
  if (!canTrace(there)) throw new Error('expected a classifier that traces');
  const before = batch.images.slice();
  const out = new Float32Array(batch.count * here.classes.length);
  expect(await there.trace(batch, { out })).toEqual(await here.trace(batch));
  expect(out).toEqual(await here.probabilities(batch));
  expect(batch.images).toEqual(before);
  expect(there.specialists).toEqual(
    here.specialists.map(({ config: { id, classes } }) => ({ config: { id, classes: [...classes] } })),
  );
  expect(there.kept).toEqual(here.kept);
  expect(there.kept).toHaveLength(there.specialists.length);
  here.dispose();
  there.dispose();
});

test('what cannot be opened is told with its code; a thread that ends fails what waits, and says so', async () => {
  const missing = openInThread({ ...source, path: join(workspace, 'nothing') }, { onEnd });
  await expect(missing).rejects.toMatchObject({ code: 'not-found' });

  let thread: Worker | undefined;
  process.once('worker', (worker) => {
    thread = worker;
  });
  const ended: Error[] = [];
  const classifier = await openInThread(source, { onEnd: (error) => ended.push(error) });
  const waiting = classifier.logits(batch);
  const failed = expect(waiting).rejects.toThrow('the thread of the model ended');
  await thread?.terminate();
  await failed;
  await expect(classifier.logits(batch)).rejects.toThrow('the thread of the model ended');
  expect(ended).toHaveLength(1);
});
