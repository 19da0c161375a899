import { readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDataset } from '../src/data/dataset.js';
import { loadNetworkEnsemble } from '../src/ensemble/ensemble.js';
import { firstClassesKey, type JudgingImages, storedFirstClasses } from '../src/evaluation/first-classes.js';
import { firstClass } from '../src/math/rank.js';
import { rowOf } from '../src/models/classifier.js';
import { kdSpec } from './fixtures/command-line.js';
import { tinyCopies } from './fixtures/tiny-workspace.js';

const copyOf = tinyCopies();
let folder: string;
let workspace: string;
let images: JudgingImages;
const store = () => join(workspace, 'features');
const stored = async () => (await readdir(store())).filter((name) => name.startsWith('first-classes-test-'));

beforeAll(async () => {
  folder = await copyOf();
  workspace = join(folder, 'kd-workspace');
  const { splits, image } = await openDataset(join(workspace, 'dataset'));
  images = { part: 'test', split: splits.test, image };
});
const opened: { dispose(): void }[] = [];
afterAll(() => {
  for (const one of opened) one.dispose();
});

/** The ensemble of the workspace as it is now, and how many images it was asked for. */
async function open() {
  const key = await firstClassesKey(workspace);
  const ensemble = await loadNetworkEnsemble(workspace);
  opened.push(ensemble);
  let asked = 0;
  const { classes, specialists, generalist } = ensemble;
  const trace: typeof ensemble.trace = (batch, options) => {
    asked += batch.count;
    return ensemble.trace(batch, options);
  };
  const judged = { ensemble: { classes, specialists, generalist, trace } };
  const options = { store: store(), signal: new AbortController().signal };
  const ask = (most?: number) =>
    storedFirstClasses(judged, images, { ...options, key, ...(most !== undefined && { most }) });
  return { ensemble, ask, asked: () => asked };
}

test('the first classes of a part are computed once', async () => {
  const { ensemble, ask, asked } = await open();
  const found = await ask();
  const { imageBatches } = await import('../src/data/batches.js');
  const [labels, after]: [number[], number[]] = [[], []];
  for await (const batch of imageBatches(images.split, images.image, { batchSize: 50 })) {
    const probabilities = await ensemble.probabilities(batch);
    labels.push(...batch.labels);
    for (let row = 0; row < batch.count; row++)
      after.push(firstClass(rowOf(probabilities, row, ensemble.classes.length)));
  }
  expect([...found.labels]).toEqual(labels);
  expect([...found.after]).toEqual(after);
  expect(found.before).not.toEqual(found.after);
  expect(Math.max(...found.specialistFlops)).toBeGreaterThan(0);
  expect(asked()).toBe(images.split.rows);

  const again = await open();
  expect(await again.ask()).toEqual(found);
  expect(again.asked()).toBe(0);
});

test('fewer images are the first of what is kept, and more are computed', async () => {
  const { ask, asked } = await open();
  for (const name of await stored()) await rm(join(store(), name));
  const some = await ask(7);
  const before = asked();
  expect(before).toBeGreaterThan(0);
  const whole = await ask();
  expect(asked()).toBe(before + images.split.rows);
  expect(some.after).toEqual(whole.after.slice(0, 7));
  expect(await ask(7)).toEqual(some);
  expect(asked()).toBe(before + images.split.rows);
});

test('where nothing can be kept, they are computed', async () => {
  const { ensemble, ask } = await open();
  const whole = await ask();
  const place = join(folder, 'a-file');
  await writeFile(place, '');
  const { signal } = new AbortController();
  const key = await firstClassesKey(workspace);
  expect(await storedFirstClasses({ ensemble }, images, { key, store: place, signal })).toEqual(whole);
});

test('a file that was cut off is made again', async () => {
  const whole = await (await open()).ask();
  const [name] = await stored();
  await truncate(join(store(), name), 100);
  const { ask, asked } = await open();
  expect(await ask()).toEqual(whole);
  expect(asked()).toBe(images.split.rows);
});

test('another ensemble has first classes of its own, and those of the last one are gone', async () => {
  const [name] = await stored();
  const calibrated = await kdSpec(['calibrate', '--routing-top', '3', '--no-select'], { folder });
  expect(calibrated, calibrated.stderr).toMatchObject({ code: 0 });
  const { ask, asked } = await open();
  await ask();
  expect(asked()).toBe(images.split.rows);
  const names = await stored();
  expect(names.length).toBe(1);
  expect(names).not.toContain(name);
});
