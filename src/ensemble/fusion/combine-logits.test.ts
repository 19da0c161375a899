import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { selectBackend } from '../../compute/backend.js';
import { createGeometricMean } from '../../compute/operations/geometric-mean.js';
import { softmax } from '../../math/softmax.js';
import { combineInside } from './combine-inside.js';
import { combineLogits, type LogitAnswer } from './combine-logits.js';

const classCount = 12;
const room = new Float64Array(classCount);

beforeAll(async () => {
  await selectBackend('wasm');
});

const options = (dustbinTrust: number, usesKernel: boolean) => ({
  dustbinTrust,
  room,
  kernel: usesKernel ? createGeometricMean(classCount + 1) : undefined,
});

/** Logits of generalist and specialists up to a size, and a trust. */
const question = (size: number) => {
  const logits = (length: number) =>
    fc
      .array(fc.float({ min: -size, max: size, noNaN: true }), { minLength: length, maxLength: length })
      .map((values) => Float32Array.from(values));
  const subset = fc.uniqueArray(fc.nat({ max: classCount - 1 }), { minLength: 1, maxLength: classCount - 2 });
  const answer = fc
    .tuple(
      subset,
      logits(classCount + 1),
      fc.double({ min: 0.4, max: 4, noNaN: true }),
      fc.double({ min: 0.1, max: 10, noNaN: true }),
    )
    .map(
      ([classes, all, temperature, weight]): LogitAnswer => ({
        classes: Int32Array.from(classes),
        logits: all.slice(0, classes.length + 1),
        temperature,
        weight,
      }),
    );
  return fc.tuple(
    logits(classCount),
    fc.array(answer, { maxLength: 3 }),
    fc.constantFrom(0, 0.3, 1),
    fc.boolean(),
  );
};

test('says in place, from logits, what combineInside says of probabilities', () => {
  fc.assert(
    fc.property(question(3), ([logits, answers, dustbinTrust, usesKernel]) => {
      const generalist = Float32Array.from(softmax(logits));
      const q = generalist.slice();
      combineLogits(q, answers, options(dustbinTrust, usesKernel));
      const spoken = answers.map(({ classes, logits, temperature, weight }) => ({
        classes,
        probabilities: softmax(logits, { temperature }),
        weight,
      }));
      combineInside(generalist, spoken, { dustbinTrust }).forEach((p, c) => {
        expect(Math.abs(q[c] - p)).toBeLessThan(2e-6);
      });
    }),
    { numRuns: 2000 },
  );
});

test('remains a distribution, however sure anybody is', () => {
  fc.assert(
    fc.property(question(300), ([logits, answers, dustbinTrust, usesKernel]) => {
      const q = Float32Array.from(softmax(logits));
      combineLogits(q, answers, options(dustbinTrust, usesKernel));
      expect(Math.abs(q.reduce((sum, p) => sum + p, 0) - 1)).toBeLessThan(1e-5);
      expect(Math.min(...q)).toBeGreaterThanOrEqual(0);
    }),
    { numRuns: 2000 },
  );
});
