import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { contractBackends } from '../support/contract-backends.js';
import { registeredName, tensorFlowOn } from '../support/operations.js';

// An optimiser writes where a parameter lies; nobody else who holds the old value may see it change.

const options = { learningRate: 0.1, weightDecay: 0, step: 1 };
const zeros = () => tf.variable(tf.zeros([64]));

test.each(await contractBackends())(
  'a step on %s leaves arrays, clones and other variables alone',
  async (backend) => {
    const on = await tensorFlowOn(backend);
    await tf.setBackend(registeredName(backend));
    for (const kind of ['adamw', 'sgd']) {
      const [values, gradientValues] = [new Float32Array(64).fill(1), new Float32Array(64).fill(0.5)];
      const parameter = tf.variable(tf.tensor1d(values));
      const moments = { first: zeros(), second: zeros() };
      const gradient = tf.tensor1d(gradientValues);
      const update = () =>
        kind === 'adamw'
          ? on.adamWStep(parameter, gradient, moments, options)
          : on.sgdStep(parameter, gradient, moments.first, options);
      for (let step = 0; step < 3; step++) {
        const before = (await parameter.data()).slice();
        const [clone, twin] = [parameter.clone(), tf.variable(parameter)];
        const reshaped = tf.reshape(parameter, [8, 8]);
        const momentBefore = moments.first.clone();
        const momentValues = (await momentBefore.data()).slice();
        update();
        for (const holder of [clone, twin, reshaped]) expect(await holder.data()).toEqual(before);
        expect(await momentBefore.data()).toEqual(momentValues);
        expect((await parameter.data())[0]).toBeLessThan(before[0] ?? Number.NaN);
        tf.dispose([clone, twin, reshaped, momentBefore]);
      }
      expect(values).toEqual(new Float32Array(64).fill(1));
      expect(gradientValues).toEqual(new Float32Array(64).fill(0.5));
      tf.dispose([parameter, moments.first, moments.second, gradient]);
    }
  },
);
