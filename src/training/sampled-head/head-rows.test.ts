import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { asTf } from '../../../test/support/operations.js';
import { selectBackend } from '../../compute/backend.js';
import { createRandom } from '../../core/random.js';
import { createNetwork } from '../../models/network.js';
import {
  createHeadRows,
  decayRows,
  gatherRows,
  type HeadRows,
  headTensors,
  readHead,
  restoreRowHistory,
  rowHistory,
  updateRows,
} from './head-rows.js';

const { operations } = await selectBackend('wasm');
const hidden = 5;
const classes = 11;

function freshRows(kind: 'adamw' | 'sgd', seed: number): HeadRows {
  const network = createNetwork(
    operations,
    {
      input: { height: 1, width: 1, channels: 1 },
      convolutions: [],
      kernel: 1,
      dense: [hidden],
      normalisation: 'none',
      dropout: 0,
      outputs: classes,
    },
    createRandom(seed),
  );
  const rows = createHeadRows(kind, network);
  const [weights, bias] = ['head.weights', 'head.bias'].map((name) =>
    asTf(network.variable(name)).dataSync<'float32'>(),
  );
  readHead(rows, weights, bias);
  network.dispose();
  return rows;
}

const gradientOf = (count: number, ...labels: (string | number)[]) => {
  const random = createRandom(...labels);
  const draw = (length: number) => Float32Array.from({ length }, () => random.normal());
  return { weights: draw(hidden * count), bias: draw(count) };
};
const all = Int32Array.from({ length: classes }, (_, row) => row);
const settings = { learningRate: 0.01, weightDecay: 0.2 };

test('a head goes into rows and comes back', () => {
  const weights = Float32Array.from({ length: hidden * classes }, (_, at) => at);
  const bias = Float32Array.from({ length: classes }, (_, at) => -at);
  const rows = freshRows('adamw', 1);
  readHead(rows, weights, bias);
  expect(headTensors(rows)).toEqual({
    weights: { shape: [hidden, classes], values: weights },
    bias: { shape: [classes], values: bias },
  });
  const some = gatherRows(rows, Int32Array.of(7, 2));
  expect([...some.weights.subarray(0, 2), ...some.bias]).toEqual([7, 2, -7, -2]);
});

test.each(['adamw', 'sgd'] as const)('with every row in every step, %s is the dense optimiser', (kind) => {
  const rows = freshRows(kind, 2);
  const start = headTensors(rows);
  const dense = [start.weights, start.bias].map(({ values, shape }) => {
    const parameter = tf.variable(tf.tensor(values, [...shape]));
    return { parameter, moments: [0, 1].map(() => tf.variable(tf.zerosLike(parameter))) };
  });
  for (let step = 0; step < 5; step++) {
    const gradient = gradientOf(classes, 'dense', step);
    updateRows(rows, all, gradient, { step, ...settings });
    [gradient.weights, gradient.bias].forEach((values, index) => {
      const { parameter, moments } = dense[index];
      const [first, second] = moments;
      const weightDecay = index === 0 ? settings.weightDecay : 0;
      const { learningRate } = settings;
      const g = tf.tensor(values, parameter.shape);
      if (kind === 'sgd')
        operations.sgdStep(parameter, g, first, { learningRate, weightDecay, nesterov: true });
      else
        operations.adamWStep(parameter, g, { first, second }, { learningRate, weightDecay, step: step + 1 });
    });
  }
  const end = headTensors(rows);
  [end.weights, end.bias].forEach(({ values }, index) => {
    dense[index].parameter.dataSync().forEach((value, at) => {
      expect(values[at]).toBeCloseTo(value, 5);
    });
  });
});

test('an update leaves all other rows and their history as they were', () => {
  fc.assert(
    fc.property(fc.subarray([...all], { minLength: 1 }), fc.nat(), (chosen, seed) => {
      const rows = freshRows('adamw', seed);
      const before = structuredClone(rows);
      const which = Int32Array.from(chosen);
      updateRows(rows, which, gradientOf(which.length, seed), { step: 3, ...settings });
      for (const row of all) {
        const range = [row * (hidden + 1), (row + 1) * (hidden + 1)] as const;
        const tables = [rows.values, ...rows.moments].map((table) => table.slice(...range));
        const old = [before.values, ...before.moments].map((table) => table.slice(...range));
        if (chosen.includes(row)) expect(tables).not.toEqual(old);
        else expect(tables).toEqual(old);
        expect(rows.updates[row]).toBe(chosen.includes(row) ? 1 : 0);
      }
    }),
    { numRuns: 50 },
  );
});

test('weight decay that was put off comes to the same as decay at every step', () => {
  const [early, late] = [freshRows('adamw', 4), freshRows('adamw', 4)];
  for (let step = 1; step <= 40; step++) decayRows(early, { step, ...settings });
  decayRows(late, { step: 13, ...settings }, Int32Array.of(3, 5));
  decayRows(late, { step: 40, ...settings });
  late.values.forEach((value, at) => {
    expect(value).toBeCloseTo(early.values[at], 5);
  });
  expect(late.decayed).toEqual(early.decayed);
  expect(late.values[3 * (hidden + 1) + hidden]).toBe(
    freshRows('adamw', 4).values[3 * (hidden + 1) + hidden],
  );
});

test('history that was saved and restored continues alike', () => {
  const rows = freshRows('adamw', 5);
  updateRows(rows, Int32Array.of(1, 4), gradientOf(2, 'first'), { step: 0, ...settings });
  const other = freshRows('adamw', 6);
  const { weights, bias } = headTensors(rows);
  readHead(other, weights.values as Float32Array, bias.values as Float32Array);
  restoreRowHistory(other, rowHistory(rows));
  for (const table of [rows, other]) {
    decayRows(table, { step: 2, ...settings }, Int32Array.of(4, 9));
    updateRows(table, Int32Array.of(4, 9), gradientOf(2, 'second'), { step: 2, ...settings });
  }
  expect(other).toEqual(rows);
});
