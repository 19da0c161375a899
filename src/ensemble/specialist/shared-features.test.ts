import { mkdtemp, readdir, readFile, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { asTf, scaleHead } from '../../../test/support/operations.js';
import { selectBackend } from '../../compute/backend.js';
import { silentLog } from '../../core/log.js';
import { createRandom } from '../../core/random.js';
import { type Dataset, openDataset } from '../../data/dataset.js';
import { readFeatures } from '../../data/feature-shards.js';
import { jftLikeSource } from '../../data/jft-like/jft-like-source.js';
import { countLabels } from '../../data/label-counts.js';
import { writeDataset } from '../../data/write-dataset.js';
import { createNetwork, type Network } from '../../models/network.js';
import { cutNetwork } from '../../models/network-backbone.js';
import { runNetwork } from '../../models/run-network.js';
import { cacheFeatures, openCachedFeatures } from './cached-features.js';
import { outsiderMasses, shareFeatures, systematicSample, viewFeatures } from './shared-features.js';
import { collapsedTargets } from './soft-targets.js';

let root: string;
let dataset: Dataset;
let generalist: Network;
const { signal } = new AbortController();
const views = 2;
const subset = [0, 1, 2, 3, 4];
const isSpecial = (label: number) => subset.includes(label);

beforeAll(async () => {
  const { operations } = await selectBackend('wasm');
  root = await mkdtemp(join(tmpdir(), 'kd-spec-outsiders-'));
  const source = await jftLikeSource({ classes: 20, imagesPerClass: 30, imageSize: 8 });
  await writeDataset(join(root, 'dataset'), source);
  dataset = await openDataset(join(root, 'dataset'));
  const definition = {
    input: dataset.image,
    convolutions: [4],
    kernel: 3,
    dense: [8],
    normalisation: 'batch',
    dropout: 0,
    outputs: 20,
  } as const;
  generalist = createNetwork(operations, definition, createRandom(1, 'net'));
  await scaleHead(generalist, 20); // sure of itself, so that masses differ
});
afterAll(async () => {
  generalist.dispose();
  await rm(root, { recursive: true, force: true });
});

test('systematic sampling gives every item its expected copies, rounded, and the sum exactly', () => {
  const expectations = fc.array(fc.double({ min: 0, max: 5, noNaN: true }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(expectations, fc.double({ min: 0, max: 0.999, noNaN: true }), (expected, u) => {
      const draw = systematicSample(u);
      const copies = expected.map(draw);
      copies.forEach((count, i) => {
        expect(count).toBeGreaterThanOrEqual(Math.floor(expected[i] - 1e-9));
        expect(count).toBeLessThanOrEqual(Math.ceil(expected[i] + 1e-9));
      });
      const total = expected.reduce((a, b) => a + b, 0);
      const drawn = copies.reduce((a, b) => a + b, 0);
      expect(Math.abs(drawn - total)).toBeLessThan(1 + 1e-9);
    }),
  );
  // On average over u: 0.3 of the draws take an item that is expected 0.3 times.
  const uniforms = Array.from({ length: 1000 }, (_, i) => (i + 0.5) / 1000);
  expect(uniforms.filter((u) => systematicSample(u)(0.3) === 1)).toHaveLength(300);
});

test('features are computed once for all, and a specialist takes its own and a sample of the others', async () => {
  const shared = { folder: join(root, 'shared'), views };
  const options = { log: silentLog, signal };
  const ingredients = { ...cutNetwork(generalist, 'dense'), dataset, seed: 1 };
  const seconds = await shareFeatures(shared, ingredients, options);
  expect(await shareFeatures(shared, ingredients, options)).toBe(seconds); // nothing is computed twice

  // A view that was torn is made again, to the same bytes.
  const [torn] = (await readdir(viewFeatures(shared, 1))).filter((name) => name.endsWith('.arrow'));
  const path = join(viewFeatures(shared, 1), torn);
  const whole = await readFile(path);
  await truncate(path, whole.length - 8);
  await shareFeatures(shared, ingredients, options);
  expect((await readFile(path)).equals(whole)).toBe(true);

  const counts = await countLabels(dataset.splits.train, 20);
  const specialExamples = subset.reduce((sum, label) => sum + counts[label], 0);
  const otherExamples = dataset.splits.train.rows - specialExamples;
  const view = { dataset, isSpecial, specialExamples, otherExamples, seed: 3 };
  const masses = await outsiderMasses(shared, isSpecial, 1);
  expect(masses?.masses.map(({ length }) => length)).toEqual([
    dataset.splits.train.rows,
    dataset.splits.train.rows,
  ]);

  const meanMassOf = async (name: string, routed: boolean) => {
    const folder = join(root, name);
    const drawing = { leastSpecial: 64, others: 300, masses: routed ? masses : undefined };
    await cacheFeatures(folder, shared, view, { ...drawing, signal });
    const special = await readFeatures(join(folder, 'special'));
    expect(special.rows).toBe(specialExamples * views);
    const others = await readFeatures(join(folder, 'others'));
    expect(Math.abs(others.rows - 300)).toBeLessThanOrEqual(1);
    let mass = 0;
    for await (const { features, labels } of others.batches({ batchSize: 100 })) {
      expect([...labels].some(isSpecial)).toBe(false);
      mass += tf.tidy(() => {
        const input = tf.tensor2d(features, [labels.length, others.width]);
        const p = tf.softmax(asTf<tf.Tensor2D>(runNetwork(generalist, input, { from: 'dense' }))); // (batch, classes)
        return tf.sum(tf.gather(p, subset, 1)).dataSync()[0];
      });
    }
    return mass / others.rows;
  };
  const uniform = await meanMassOf('uniform', false);
  const routed = await meanMassOf('routed', true);
  expect(uniform).toBeCloseTo(masses?.meanMass ?? 0, 2);
  // Drawn in proportion to the mass: its mean becomes E[m²] / E[m].
  const outside: number[] = [];
  for (let index = 0; index < views; index++) {
    const all = await readFeatures(viewFeatures(shared, index));
    for await (const { labels, rows } of all.batches({ batchSize: 100 })) {
      labels.forEach((label, i) => {
        if (!isSpecial(label)) outside.push(masses?.masses[index][rows[i]] ?? 0);
      });
    }
  }
  const square = outside.reduce((sum, m) => sum + m * m, 0) / outside.length;
  expect(routed).toBeCloseTo(square / (masses?.meanMass ?? 1), 2);
  expect(routed).toBeGreaterThan(1.05 * uniform);
});

test.each([false, true])('a batch has the anchor of each row, beside soft targets: %s', async (isTaught) => {
  const shared = { folder: join(root, 'shared'), views };
  const counts = await countLabels(dataset.splits.train, 20);
  const specialExamples = subset.reduce((sum, label) => sum + counts[label], 0);
  const otherExamples = dataset.splits.train.rows - specialExamples;
  const view = { dataset, isSpecial, specialExamples, otherExamples, seed: 3 };
  const folder = join(root, `anchored-${isTaught}`);
  const soft = isTaught ? collapsedTargets(subset, 0, undefined) : undefined;
  const sumOf = (features: Float32Array) => features.reduce((sum, value) => sum + value, 0);
  const rowsOf = (features: Float32Array, rows: number) =>
    Array.from({ length: rows }, (_, row) =>
      features.subarray((row * features.length) / rows, ((row + 1) * features.length) / rows),
    );
  await cacheFeatures(folder, shared, view, {
    ...{ leastSpecial: 64, others: 64, masses: undefined, soft, signal },
    anchor: async (features, rows) => Float32Array.from(rowsOf(features, rows), sumOf),
  });
  const opened = await openCachedFeatures({
    ...{ folder, batchSize: 32, specialPerBatch: 16, seed: 1, isAnchored: true },
    teaching: soft && { head: 'anchored', width: soft.width, softShare: 0.5 },
  });
  let rows = 0;
  for await (const batch of opened.batches({ purpose: 'test', batches: 3, skipBatches: 0 })) {
    expect(batch.teacher !== undefined).toBe(isTaught);
    expect(batch.lastOffsets).toHaveLength(32);
    for (const [row, features] of rowsOf(batch.inputs, 32).entries()) {
      expect(batch.lastOffsets?.[row]).toBeCloseTo(sumOf(features), 5);
      rows++;
    }
  }
  expect(rows).toBe(96);
});

test('each row is followed by what the generalist says of the same image', async () => {
  const shared = { folder: join(root, 'shared'), views };
  const counts = await countLabels(dataset.splits.train, 20);
  const specialExamples = subset.reduce((sum, label) => sum + counts[label], 0);
  const otherExamples = dataset.splits.train.rows - specialExamples;
  const view = { dataset, isSpecial, specialExamples, otherExamples, seed: 3 };
  const folder = join(root, 'soft');
  const soft = collapsedTargets(subset, 0, undefined); // no correction: the collapsed prediction itself
  await cacheFeatures(folder, shared, view, {
    leastSpecial: 64,
    others: 64,
    masses: undefined,
    soft,
    signal,
  });
  for (const name of ['special', 'others']) {
    const cached = await readFeatures(join(folder, name));
    const width = cached.width - soft.width;
    for await (const { features, labels } of cached.batches({ batchSize: 100 })) {
      const row = (index: number) => features.subarray(index * cached.width, (index + 1) * cached.width);
      const inputs = Float32Array.from(
        [...labels.keys()].flatMap((index) => [...row(index).subarray(0, width)]),
      );
      const inside = tf.tidy(() => {
        const input = tf.tensor2d(inputs, [labels.length, width]);
        const p = tf.softmax(asTf<tf.Tensor2D>(runNetwork(generalist, input, { from: 'dense' })));
        return tf.gather(p, subset, 1).dataSync(); // (rows, subset)
      });
      for (const index of labels.keys()) {
        const said = row(index).subarray(width);
        subset.forEach((_, place) => {
          expect(said[place]).toBeCloseTo(inside[index * subset.length + place], 2);
        });
      }
    }
  }
});

test('a subset with too few examples for a batch is repeated until it fills one', async () => {
  const shared = { folder: join(root, 'shared'), views };
  const counts = await countLabels(dataset.splits.train, 20);
  const rarest = counts.indexOf(Math.min(...counts));
  const specialExamples = counts[rarest];
  const otherExamples = dataset.splits.train.rows - specialExamples;
  const view = {
    dataset,
    isSpecial: (label: number) => label === rarest,
    specialExamples,
    otherExamples,
    seed: 3,
  };
  const folder = join(root, 'few');
  const leastSpecial = 3 * views * specialExamples - 1;
  await cacheFeatures(folder, shared, view, { leastSpecial, others: 10, masses: undefined, signal });
  expect((await readFeatures(join(folder, 'special'))).rows).toBe(3 * views * specialExamples);
});
