import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { csrFromDense } from '../../test/support/dense-matrix.js';
import { asTf } from '../../test/support/operations.js';
import { selectBackend } from '../compute/backend.js';
import { createRandom } from '../core/random.js';
import { softmax } from '../math/softmax.js';
import { distillationLoss, type TeacherTargets } from './distillation-loss.js';

const { operations } = await selectBackend('wasm');
const [batch, outputs] = [6, 8];

function logits(name: string): Float32Array {
  const random = createRandom(name);
  return Float32Array.from({ length: batch * outputs }, () => 2 * random.normal());
}

const student = logits('student');
const teacher = logits('teacher');
const labels = Int32Array.from([0, 7, 3, 2, 5, 1]);
const all = new Float32Array(batch).fill(1);
const none = new Float32Array(batch);

function softTargets(temperature: number, weights: Partial<TeacherTargets> = {}): TeacherTargets {
  const rows = Array.from({ length: batch }, (_, row) =>
    softmax(teacher.subarray(row * outputs, (row + 1) * outputs).map((v) => v / temperature)),
  );
  const probabilities = csrFromDense(
    rows.flatMap((row) => [...row]),
    batch,
    outputs,
  );
  return {
    kind: 'probabilities',
    probabilities,
    rest: 'spread',
    temperature,
    softWeights: all,
    hardWeights: none,
    ...weights,
  } as TeacherTargets;
}

function lossAndGradient(targets: TeacherTargets, z = student) {
  const { value, grad } = tf.valueAndGrad((x) =>
    asTf(distillationLoss(operations, x as tf.Tensor2D, labels, targets)),
  )(tf.tensor2d(z, [batch, outputs]));
  return { loss: value.dataSync()[0], gradient: grad.dataSync<'float32'>() };
}

const norm = (values: Float32Array) => Math.hypot(...values);
const distance = (a: Float32Array, b: Float32Array) => Math.hypot(...a.map((value, i) => value - b[i]));

test('the gradient of the soft term is T (q - p) / batch', () => {
  for (const temperature of [1, 2.5, 20]) {
    const { gradient } = lossAndGradient(softTargets(temperature));
    for (let row = 0; row < batch; row++) {
      const of = (z: Float32Array) =>
        softmax(z.subarray(row * outputs, (row + 1) * outputs).map((v) => v / temperature));
      const [q, p] = [of(student), of(teacher)];
      q.forEach((value, index) => {
        expect(gradient[row * outputs + index]).toBeCloseTo((temperature * (value - p[index])) / batch, 5);
      });
    }
  }
});

test('the gradients of all terms are those of finite differences', () => {
  const random = createRandom('weights');
  const softWeights = all.map(() => random.uniform());
  const hardWeights = all.map((_, row) => (row % 2 === 0 ? 0 : random.uniform()));
  const targets: TeacherTargets[] = [
    softTargets(3, { softWeights, hardWeights }),
    { kind: 'logits', logits: teacher, softWeights, hardWeights },
  ];
  const step = 2 ** -6;
  for (const target of targets) {
    const { gradient } = lossAndGradient(target);
    for (let index = 0; index < student.length; index += 3) {
      const at = (by: number) =>
        lossAndGradient(
          target,
          student.map((v, i) => (i === index ? v + by : v)),
        ).loss;
      expect(gradient[index]).toBeCloseTo((at(step) - at(-step)) / (2 * step), 3);
    }
  }
});

test('the factor T² keeps the size of the gradient over T', () => {
  const sizes = [4, 8, 20, 50, 100].map((temperature) =>
    norm(lossAndGradient(softTargets(temperature)).gradient),
  );
  const largest = Math.max(...sizes);
  for (const size of sizes) expect(size / largest).toBeGreaterThan(0.7);
  // Without it the gradient at T = 100 would be some 600 times smaller than at T = 4.
  expect(sizes[0] / 4 ** 2 / (sizes[4] / 100 ** 2)).toBeGreaterThan(400);
});

test('for large T the soft term tends to logit matching', () => {
  const matching = lossAndGradient({
    kind: 'logits',
    logits: teacher,
    softWeights: all,
    hardWeights: none,
  }).gradient;
  const errors = [5, 20, 80].map(
    (temperature) => distance(lossAndGradient(softTargets(temperature)).gradient, matching) / norm(matching),
  );
  expect(errors[2]).toBeLessThan(0.03);
  // The next term of the expansion falls as 1/T.
  expect(errors[1]).toBeLessThan(errors[0] / 3);
  expect(errors[2]).toBeLessThan(errors[1] / 3);
});

test('a constant added to a case of the teacher changes nothing in logit matching', () => {
  const base = { kind: 'logits', softWeights: all, hardWeights: none } as const;
  const shifted = teacher.map((value, index) => value + Math.floor(index / outputs));
  const [a, b] = [teacher, shifted].map((v) => lossAndGradient({ ...base, logits: v }).gradient);
  expect(distance(a, b)).toBeLessThan(1e-5);
});

test('each example has a hard or a soft target as its weights say', () => {
  const isHard = labels.map((_, row) => row % 2);
  const hardWeights = Float32Array.from(isHard);
  const softWeights = hardWeights.map((weight) => 1 - weight);
  const mixed = lossAndGradient(softTargets(2, { softWeights, hardWeights })).gradient;
  const soft = lossAndGradient(softTargets(2)).gradient;
  const hard = tf
    .grad((x) => asTf(operations.softmaxCrossEntropy(x as tf.Tensor2D, tf.tensor1d(labels, 'int32'))))(
      tf.tensor2d(student, [batch, outputs]),
    )
    .dataSync();
  mixed.forEach((value, index) => {
    const expected = isHard[Math.floor(index / outputs)] ? hard[index] : soft[index];
    expect(value).toBeCloseTo(expected, 5);
  });
});

test('a label is asked for only where it has a weight', async () => {
  const unlabelled = new Int32Array(batch).fill(-1);
  const z = tf.tensor2d(student, [batch, outputs]);
  const [loss] = await operations.read(distillationLoss(operations, z, unlabelled, softTargets(2)));
  expect(loss).toBeCloseTo(lossAndGradient(softTargets(2)).loss, 5);
  expect(() => distillationLoss(operations, z, unlabelled, softTargets(2, { hardWeights: all }))).toThrow(
    /expected labels from 0 to 7, got -1 at row 0/,
  );
});
