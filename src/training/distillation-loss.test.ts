import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { csrFromDense } from '../../test/support/dense-matrix.js';
import { asTf } from '../../test/support/operations.js';
import { selectBackend } from '../compute/backend.js';
import { createRandom } from '../core/random.js';
import { softmax } from '../math/softmax.js';
import {
  type DecoupledTargets,
  distillationLoss,
  type SoftTargets,
  type TeacherTargets,
} from './distillation-loss.js';

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

/** The teacher's distributions in two parts: the label against the others, the others among themselves. */
function decoupledTargets(
  temperature: number,
  weights: Partial<DecoupledTargets> & { readonly otherWeight: number },
): DecoupledTargets {
  const rows = Array.from({ length: batch }, (_, row) => [...ofRow(teacher, row, temperature)]);
  const own = Float32Array.from(rows, (row, at) => row[labels[at]]);
  const others = rows.map((row, at) =>
    row.map((mass, index) => (index === labels[at] ? 0 : mass / (1 - own[at]))),
  );
  return {
    kind: 'decoupled',
    own,
    others: {
      rows: batch,
      columns: outputs,
      offsets: Int32Array.from({ length: batch + 1 }, (_, row) => row * outputs),
      indices: Int32Array.from({ length: batch * outputs }, (_, at) => at % outputs),
      values: Float32Array.from(others.flat()),
    },
    rest: 'bucket',
    temperature,
    softWeights: all,
    hardWeights: none,
    ...weights,
  };
}

/** The teacher's distributions at a temperature from logits of mean 0 and deviation 1. */
function standardisedTargets(temperature: number): SoftTargets {
  const rows = Array.from({ length: batch }, (_, row) => [
    ...softmax(standardised(teacher, row, temperature)),
  ]);
  return {
    kind: 'standardised',
    probabilities: csrFromDense(rows.flat(), batch, outputs),
    rest: 'spread',
    temperature,
    softWeights: all,
    hardWeights: none,
  };
}

const ofRow = (z: Float32Array, row: number, temperature: number) =>
  softmax(z.subarray(row * outputs, (row + 1) * outputs).map((v) => v / temperature));

function standardised(z: Float32Array, row: number, temperature: number): Float64Array {
  const values = Float64Array.from(z.subarray(row * outputs, (row + 1) * outputs));
  const mean = values.reduce((sum, v) => sum + v, 0) / outputs;
  const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / outputs);
  return values.map((v) => (v - mean) / (deviation * temperature));
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
    decoupledTargets(3, { otherWeight: 2.5, softWeights, hardWeights }),
    { ...standardisedTargets(2), softWeights, hardWeights },
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

test('decoupled, the loss is that of two distributions: the label against the others, and the others', () => {
  for (const [temperature, otherWeight] of [
    [1, 1],
    [3, 8],
    [20, 0.5],
  ]) {
    let expected = 0;
    for (let row = 0; row < batch; row++) {
      const [p, q] = [ofRow(teacher, row, temperature), ofRow(student, row, temperature)];
      const [pt, qt] = [p[labels[row]], q[labels[row]]];
      expected -= pt * Math.log(qt) + (1 - pt) * Math.log(1 - qt);
      p.forEach((mass, index) => {
        if (index !== labels[row])
          expected -= otherWeight * (mass / (1 - pt)) * Math.log(q[index] / (1 - qt));
      });
    }
    const { loss } = lossAndGradient(decoupledTargets(temperature, { otherWeight }));
    expect(loss / ((temperature ** 2 * expected) / batch)).toBeCloseTo(1, 4);
  }
});

test("with the teacher's doubt as the weight of the others it is the whole cross-entropy, row by row", () => {
  const temperature = 2;
  const whole = softTargets(temperature);
  for (let row = 0; row < batch; row++) {
    const alone = none.map((_, index) => Number(index === row)); // the others have no weight
    const otherWeight = 1 - ofRow(teacher, row, temperature)[labels[row]];
    const parts = lossAndGradient(decoupledTargets(temperature, { otherWeight, softWeights: alone }));
    const one = lossAndGradient({ ...whole, softWeights: alone });
    expect(parts.loss).toBeCloseTo(one.loss, 4);
    expect(distance(parts.gradient, one.gradient)).toBeLessThan(1e-4);
  }
});

test('standardised, the loss is that of logits of one scale, whatever scale they come in', () => {
  const temperature = 2;
  let expected = 0;
  for (let row = 0; row < batch; row++) {
    const p = softmax(standardised(teacher, row, temperature));
    const q = softmax(standardised(student, row, temperature));
    p.forEach((mass, index) => {
      expected -= mass * Math.log(q[index]);
    });
  }
  const { loss } = lossAndGradient(standardisedTargets(temperature));
  expect(loss / ((temperature ** 2 * expected) / batch)).toBeCloseTo(1, 4);
  const shrunk = student.map((v, index) => v / 8 + Math.floor(index / outputs));
  expect(lossAndGradient(standardisedTargets(temperature), shrunk).loss).toBeCloseTo(loss, 3);
  // Equal logits have no direction, and no gradient either.
  const flat = lossAndGradient(
    standardisedTargets(temperature),
    student.map(() => 3),
  );
  expect(flat.gradient.every(Number.isFinite)).toBe(true);
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
  for (const needsLabels of [softTargets(2, { hardWeights: all }), decoupledTargets(2, { otherWeight: 1 })])
    expect(() => distillationLoss(operations, z, unlabelled, needsLabels)).toThrow(
      /expected labels from 0 to 7, got -1 at row 0/,
    );
});
