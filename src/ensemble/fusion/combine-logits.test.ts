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

/** What a specialist says, as probabilities. */
const spokenOf = ({ classes, logits, temperature, weight }: LogitAnswer) => ({
  classes,
  probabilities: softmax(logits, { temperature }),
  weight,
});

test('says in place, from logits, what combineInside says of probabilities', () => {
  fc.assert(
    fc.property(question(3), ([logits, answers, dustbinTrust, usesKernel]) => {
      const generalist = Float32Array.from(softmax(logits));
      const q = generalist.slice();
      combineLogits(q, answers, options(dustbinTrust, usesKernel));
      combineInside(generalist, answers.map(spokenOf), { dustbinTrust }).forEach((p, c) => {
        expect(Math.abs(q[c] - p)).toBeLessThan(2e-6);
      });
    }),
    { numRuns: 2000 },
  );
});

test('both remain distributions, however sure anybody is', () => {
  fc.assert(
    fc.property(question(300), ([logits, answers, dustbinTrust, usesKernel]) => {
      const generalist = Float32Array.from(softmax(logits));
      const q = generalist.slice();
      combineLogits(q, answers, options(dustbinTrust, usesKernel));
      const inside = combineInside(generalist, answers.map(spokenOf), { dustbinTrust });
      for (const fused of [[...q], [...inside]]) {
        expect(Math.abs(fused.reduce((sum, p) => sum + p, 0) - 1)).toBeLessThan(1e-5);
        expect(Math.min(...fused)).toBeGreaterThanOrEqual(0);
      }
    }),
    { numRuns: 2000 },
  );
});
