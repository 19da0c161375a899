import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { heapOfWasm, tensorFlowOn } from '../../../test/support/operations.js';

const heap = await heapOfWasm();
const on = await tensorFlowOn('wasm');
await tf.setBackend('wasm');

test('a clone shares memory, and outlives what it is a clone of', () => {
  const before = tf.memory();
  const original = tf.tensor1d([1, 2, 3]);
  const clone = tf.clone(original);
  expect(heap.address(clone)).toBe(heap.address(original));
  original.dispose();
  expect([...clone.dataSync()]).toEqual([1, 2, 3]);
  clone.dispose();
  expect(tf.memory()).toMatchObject({ numTensors: before.numTensors, numBytes: before.numBytes });
});

test('a step that writes moments in place leaves their clones and their sources as they were', () => {
  const [zeros, ones] = [tf.zeros([5]), tf.ones([5])];
  const [first, second, velocity] = [tf.variable(zeros), tf.variable(zeros), tf.variable(zeros)];
  const parameter = tf.variable(ones);
  on.adamWStep(parameter, ones, { first, second }, { learningRate: 0.1, step: 1 });
  const clone = tf.clone(first);
  const value = first.dataSync().slice();
  on.adamWStep(parameter, ones, { first, second }, { learningRate: 0.1, step: 2 });
  on.sgdStep(parameter, ones, velocity, { learningRate: 0.1 });
  expect(clone.dataSync()).toEqual(value);
  expect(first.dataSync()).not.toEqual(value);
  expect([...zeros.dataSync()]).toEqual([0, 0, 0, 0, 0]);
  expect([...ones.dataSync()]).toEqual([1, 1, 1, 1, 1]);
  expect(second.dataSync()).not.toEqual(velocity.dataSync());
});
