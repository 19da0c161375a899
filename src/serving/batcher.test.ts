import { expect, test } from 'vitest';
import { createClassifier, type ImageBatch } from '../models/classifier.js';
import { createAdmission } from './admission.js';
import { type BatchReport, createBatcher, createTurns } from './batcher.js';

const shape = { height: 1, width: 2, channels: 1 } as const;

/** Predicts class 0 with the first pixel's value; a batch takes as long as it is held. */
function heldClassifier() {
  const batches: number[] = [];
  const held: (() => void)[] = [];
  const classifier = createClassifier({
    name: 'held',
    classes: ['a', 'b'],
    input: { kind: 'images', image: shape },
    async probabilities({ images, count }: ImageBatch, out) {
      batches.push(count);
      await new Promise<void>((resolve) => held.push(resolve));
      for (let row = 0; row < count; row++) {
        if (images[2 * row] === 1) throw new Error('white');
        out[2 * row] = images[2 * row];
        out[2 * row + 1] = 1 - images[2 * row];
      }
    },
    dispose() {},
  });
  const next = async () => {
    while (held.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    held.shift()?.();
  };
  return { classifier, batches, next };
}

function batcherOf(classifier: ReturnType<typeof heldClassifier>['classifier'], batchSize = 4, waitMs = 20) {
  const reports: BatchReport[] = [];
  const batcher = createBatcher(classifier, {
    batchSize,
    waitMs,
    exclusively: createTurns(),
    onBatch: (report) => reports.push(report),
  });
  const predict = (value: number, signal: AbortSignal = new AbortController().signal) =>
    batcher.predict(
      Uint8Array.of(value, 0),
      { isTraced: false, signal },
      ({ probabilities }) => probabilities[0],
    );
  return { predict, reports };
}

test('images of several requests are predicted together, and each gets its own prediction', async () => {
  const { classifier, batches, next } = heldClassifier();
  const { predict, reports } = batcherOf(classifier);
  const all = Promise.all([10, 20, 30].map((value) => predict(value)));
  await next();
  expect((await all).map((value) => Math.round(255 * value))).toEqual([10, 20, 30]);
  expect(batches).toEqual([3]);
  expect(reports).toMatchObject([{ images: 3 }]);
});

test('a batch is no larger than it may be; what comes while one runs is gathered for the next', async () => {
  const { classifier, batches, next } = heldClassifier();
  const { predict } = batcherOf(classifier);
  const first = Array.from({ length: 6 }, (_, value) => predict(value));
  await next();
  await Promise.all(first.slice(0, 4));
  first.push(predict(6), predict(7), predict(8)); // two of them find room beside the two that are left
  await next();
  await next();
  expect(await Promise.all(first)).toHaveLength(9);
  expect(batches.reduce((sum, count) => sum + count)).toBe(9);
  expect(Math.max(...batches)).toBe(4);
  expect(batches).toHaveLength(3);
});

test('an image whose request ended leaves the queue, and takes no room in a batch', async () => {
  const { classifier, batches, next } = heldClassifier();
  const { predict } = batcherOf(classifier, 1);
  const running = predict(1);
  const gone = new AbortController();
  const waiting = predict(2, gone.signal);
  gone.abort(new Error('gone'));
  await expect(waiting).rejects.toThrow('gone');
  await expect(predict(3, gone.signal)).rejects.toThrow('gone');
  await next();
  await running;
  expect(batches).toEqual([1]);
});

test('what a classifier throws reaches the image that it is thrown for, and no other of its batch', async () => {
  const { classifier, batches, next } = heldClassifier();
  const { predict } = batcherOf(classifier, 2);
  const failing = predict(255);
  const beside = predict(5);
  const after = predict(7);
  const refused = expect(failing).rejects.toThrow('white');
  for (let batch = 0; batch < 4; batch++) await next(); // both, each alone, and the next
  await refused;
  expect(Math.round(255 * (await beside))).toBe(5);
  expect(Math.round(255 * (await after))).toBe(7);
  expect(batches).toEqual([2, 1, 1, 1]);
});

test('turns are taken one after the other, whatever becomes of them', async () => {
  const exclusively = createTurns();
  const order: string[] = [];
  const work = (name: string, fails = false) =>
    exclusively(async () => {
      order.push(`${name} begins`);
      await new Promise((resolve) => setTimeout(resolve, 5));
      order.push(`${name} ends`);
      if (fails) throw new Error(name);
    });
  const outcomes = await Promise.allSettled([work('a', true), work('b')]);
  expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
});

test('admission refuses beyond its bounds, frees once, and tells when to come back', () => {
  const admission = createAdmission({ images: 3, bytes: 10 });
  const release = admission.reserveImages(2);
  expect(() => admission.reserveImages(2)).toThrow(expect.objectContaining({ code: 'server-busy' }));
  const last = admission.reserveImages(1);
  expect(admission.isFull).toBe(true);
  expect(admission.retryAfterSeconds()).toBe(1); // nothing was measured
  admission.measured(1, 4);
  expect(admission.retryAfterSeconds()).toBe(12);
  release();
  release();
  expect(admission.images).toBe(1);
  last();
  expect(admission.images).toBe(0);
  admission.reserveBytes(10);
  expect(() => admission.reserveBytes(1)).toThrow(expect.objectContaining({ code: 'server-busy' }));
});

test('refusals that come faster than they are worth wait, half a second at most; one alone does not', async () => {
  const admission = createAdmission({ images: 1, bytes: 1 });
  const beginMs = performance.now();
  const waitedMs = await Promise.all(
    Array.from({ length: 500 }, async () => {
      await admission.turnToRefuse();
      return performance.now() - beginMs;
    }),
  );
  expect(waitedMs[0]).toBeLessThan(50);
  expect(waitedMs[50]).toBeGreaterThan(200);
  expect(Math.max(...waitedMs)).toBeGreaterThan(450);
  expect(Math.max(...waitedMs)).toBeLessThan(1400); // half a second, and what a busy machine adds
});
