import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  expectAgreement,
  normal,
  type Operation,
  runs,
  size,
} from '../../../test/support/backend-agreement.js';
import { csrFromDense } from '../../../test/support/dense-matrix.js';
import { type TensorFlowOperations, tensorFlowOn } from '../../../test/support/operations.js';
import { createRandom } from '../../core/random.js';
import type { CsrMatrix } from '../../math/csr.js';
import type { RemainingMass } from '../operations.js';

/** Random distributions of which only some classes are listed; every third row is full. */
function sparseTargets(seed: number, batch: number, classes: number): CsrMatrix {
  const random = createRandom(seed, 'targets');
  const dense = new Float32Array(batch * classes);
  for (let row = 0; row < batch; row++) {
    const values = Float64Array.from({ length: classes }, () => random.uniform() ** 3);
    const sum = values.reduce((a, b) => a + b, 0);
    const isFull = row % 3 === 0;
    values.forEach((value, index) => {
      if (isFull || random.uniform() < 0.3) dense[row * classes + index] = value / sum;
    });
  }
  return csrFromDense(dense, batch, classes);
}

/** The definition, a row and a class at a time, in double precision. */
function obvious(z: Float32Array, targets: CsrMatrix, rest: RemainingMass, weights: Float32Array): number {
  const { rows, columns, offsets, indices, values } = targets;
  let loss = 0;
  for (let row = 0; row < rows; row++) {
    const logits = [...z.subarray(row * columns, (row + 1) * columns)];
    const total = logits.reduce((sum, value) => sum + Math.exp(value), 0);
    const q = logits.map((value) => Math.exp(value) / total);
    const p = new Map<number, number>();
    for (let k = offsets[row]; k < offsets[row + 1]; k++) p.set(indices[k], values[k]);
    const left = 1 - [...p.values()].reduce((a, b) => a + b, 0);
    const others = q.filter((_, index) => !p.has(index));
    let ofRow = 0;
    for (const [index, value] of p) ofRow -= value * Math.log(q[index]);
    if (others.length > 0) {
      const mean = others.reduce((sum, value) => sum + Math.log(value), 0) / others.length;
      const together = Math.log(others.reduce((a, b) => a + b, 0));
      ofRow -= left * (rest === 'spread' ? mean : together);
    }
    loss += weights[row] * ofRow;
  }
  return loss / rows;
}

const kinds = ['spread', 'bucket'] as const;

describe.each(kinds)('cross-entropy with soft targets, the rest as %s', (rest) => {
  const weightsOf = (seed: number, batch: number) => {
    const random = createRandom(seed, 'weights');
    return Float32Array.from({ length: batch }, (_, row) => (row % 4 === 3 ? 0 : random.uniform()));
  };

  test('wasm agrees with TensorFlow.js on the cpu, over shapes, weights and temperatures', async () => {
    await fc.assert(
      fc.asyncProperty(
        size(12),
        size(40, 2),
        fc.constantFrom(1, 4, 20),
        size(1000),
        async (batch, classes, temperature, seed) => {
          const targets = sparseTargets(seed, batch, classes);
          const rowWeights = weightsOf(seed, batch);
          const operation =
            (on: TensorFlowOperations): Operation =>
            (z) =>
              on.softTargetCrossEntropy(tf.div<tf.Tensor2D>(z as tf.Tensor, temperature), targets, {
                rest,
                rowWeights,
              });
          const reference = operation(await tensorFlowOn('cpu'));
          await expectAgreement(operation, reference, [normal(seed, [batch, classes])]);
        },
      ),
      runs,
    );
  });

  test.each(['wasm', 'cpu'] as const)(
    'on %s the value is that of the definition, and the gradient that of its finite differences',
    async (backend) => {
      const on = await tensorFlowOn(backend);
      await tf.setBackend(backend);
      const [batch, classes] = [5, 9];
      const targets = sparseTargets(3, batch, classes);
      const rowWeights = weightsOf(3, batch);
      const { values } = normal(3, [batch, classes]);
      const z = tf.tensor2d(values, [batch, classes]);
      const { value, grad } = tf.valueAndGrad((x) =>
        on.softTargetCrossEntropy(x as tf.Tensor2D, targets, { rest, rowWeights }),
      )(z);
      expect(value.dataSync()[0]).toBeCloseTo(obvious(values, targets, rest, rowWeights), 5);
      const gradient = grad.dataSync();
      const step = 2 ** -10;
      values.forEach((_, index) => {
        const moved = (by: number) => values.map((v, i) => (i === index ? v + by : v));
        const difference =
          (obvious(moved(step), targets, rest, rowWeights) -
            obvious(moved(-step), targets, rest, rowWeights)) /
          (2 * step);
        expect(gradient[index]).toBeCloseTo(difference, 4);
      });
    },
  );
});

describe('on one backend', () => {
  let on: TensorFlowOperations;
  beforeAll(async () => {
    on = await tensorFlowOn('wasm');
    await tf.setBackend('wasm');
  });

  test('one listed class with all the mass is a hard label', () => {
    const { values } = normal(1, [4, 6]);
    const z = tf.tensor2d(values, [4, 6]);
    const labels = Int32Array.from([3, 0, 5, 1]);
    const targets = {
      rows: 4,
      columns: 6,
      offsets: Int32Array.from([0, 1, 2, 3, 4]),
      indices: labels,
      values: new Float32Array(4).fill(1),
    };
    const soft = tf.valueAndGrad((x) => on.softTargetCrossEntropy(x as tf.Tensor2D, targets))(z);
    const hard = tf.valueAndGrad((x) =>
      on.softmaxCrossEntropy(x as tf.Tensor2D, tf.tensor1d(labels, 'int32')),
    )(z);
    expect(soft.value.dataSync()[0]).toBeCloseTo(hard.value.dataSync()[0], 5);
    const expected = hard.grad.dataSync();
    soft.grad.dataSync().forEach((value, index) => {
      expect(value).toBeCloseTo(expected[index], 6);
    });
  });

  test('a bucket says nothing about how the unlisted classes share their mass', () => {
    const targets = csrFromDense([0.5, 0, 0, 0], 1, 4);
    const gradientAt = (logits: number[]) =>
      tf.grad((x) => on.softTargetCrossEntropy(x as tf.Tensor2D, targets, { rest: 'bucket' }))(
        tf.tensor2d([logits]),
      );
    // Half the mass is listed and half is not: nothing is to be changed, however the other half is shared.
    const at = (shares: number[]) => [0, ...shares.map((share) => Math.log(share))];
    for (const value of gradientAt(at([0.5, 0.3, 0.2])).dataSync()) expect(value).toBeCloseTo(0, 6);
    for (const value of gradientAt(at([0.98, 0.01, 0.01])).dataSync()) expect(value).toBeCloseTo(0, 6);
  });

  test('a student that is sure of a listed class still has finite losses and gradients', () => {
    const targets = csrFromDense([0.5, 0, 0, 0], 1, 4);
    for (const rest of kinds) {
      const { value, grad } = tf.valueAndGrad((x) =>
        on.softTargetCrossEntropy(x as tf.Tensor2D, targets, { rest }),
      )(tf.tensor2d([[400, 0, 0, 0]]));
      expect(Number.isFinite(value.dataSync()[0])).toBe(true);
      expect([...grad.dataSync()].every(Number.isFinite)).toBe(true);
    }
  });

  test('rows that sum to more than 1, or name no class, are refused', () => {
    expect(() =>
      on.softTargetCrossEntropy(tf.ones<tf.Rank.R2>([1, 2]), csrFromDense([0.9, 0.9], 1, 2)),
    ).toThrow(/sums to/);
    const outside = { ...csrFromDense([1, 0], 1, 2), indices: Int32Array.from([2]) };
    expect(() => on.softTargetCrossEntropy(tf.ones<tf.Rank.R2>([1, 2]), outside)).toThrow(
      /row 0 has 1 at 2 of 2/,
    );
  });
});
