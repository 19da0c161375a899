import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { contractBackends } from '../../../test/support/contract-backends.js';
import { operationsOn } from '../../../test/support/operations.js';
import { createRandom } from '../../core/random.js';
import { selectBackend } from '../backend.js';
import type { Operations, Variable } from '../operations.js';
import { createOperations } from '../tensorflow-js/operations.js';
import { webgpu } from './backend.js';
import { createGpu, type Gpu } from './gpu.js';
import { kernelsOn } from './kernels.js';

const isThere = (await contractBackends()).includes('webgpu');

test('where the packages are missing, it says how to get them', () => {
  const found = webgpu.find();
  if (found.isAvailable) expect(found.reason).toMatch(/webgpu \d+\.\d+\.\d+/);
  else expect(webgpu.install).toMatch(/^npm .*install .*webgpu @tensorflow\/tfjs-backend-webgpu$/);
});

describe.runIf(isThere)('on a GPU that reaches little at a time', () => {
  const bindable = 4096;
  let small: Operations;
  /** The kernels that were run, by name. */
  const runs: string[] = [];
  beforeAll(async () => {
    await selectBackend('webgpu');
    const backend = tf.findBackend('webgpu');
    if (!backend) throw new Error('it was selected');
    const gpu = createGpu(backend, { bindable, workgroups: 16 });
    const run: Gpu['run'] = (kernel, ...rest) => {
      runs.push(kernel.name);
      gpu.run(kernel, ...rest);
    };
    small = createOperations({ name: 'webgpu', registered: 'webgpu', kernels: kernelsOn({ ...gpu, run }) });
  });

  /** A step of AdamW on a dense head, and all that came of it. */
  async function step(operations: Operations, [batch, inputs, classes]: readonly [number, number, number]) {
    const random = createRandom(batch, inputs, classes);
    const normal = (length: number) => Float32Array.from({ length }, () => random.normal());
    const x = operations.variable(normal(batch * inputs), [batch, inputs]);
    const weights = operations.variable(normal(inputs * classes), [inputs, classes]);
    const bias = operations.variable(normal(classes), [classes]);
    const labels = Int32Array.from({ length: batch }, () => random.below(classes));
    const zeros = () => operations.variable(new Float32Array(inputs * classes), [inputs, classes]);
    const moments = { first: zeros(), second: zeros() };
    const y = operations.tensor(labels, [batch]);
    const variables: readonly Variable[] = [x, weights, bias];
    const { value, gradients } = operations.valueAndGradients(
      () => operations.softmaxCrossEntropy(operations.dense(x, weights, bias), y),
      variables,
    );
    operations.adamWStep(weights, gradients[1], moments, { learningRate: 0.1, weightDecay: 0.1, step: 1 });
    const tensors = [value, ...gradients, weights, moments.first, moments.second];
    const values = await Promise.all(tensors.map((tensor) => operations.read(tensor)));
    const areFinite = await operations.areFinite(tensors);
    operations.dispose([...tensors, x, y, bias]);
    return { values, areFinite };
  }

  test.each([
    [30, 130, 64], // weights in windows
    [130, 20, 96], // outputs in windows
    [60, 66, 128], // both
    [5, 6, 1088], // more tiles than a dimension admits workgroups
  ] as const)('a step on a head of %i x %i x %i is that of the cpu backend', async (...size) => {
    const [expected, actual] = [await step(await operationsOn('cpu'), size), await step(small, size)];
    expect(actual.areFinite).toBe(true);
    for (const [index, values] of expected.values.entries()) {
      const worst = values.reduce(
        (most, value, i) => Math.max(most, Math.abs(value - actual.values[index][i])),
        0,
      );
      // Adam's first step is as long as the learning rate, however small a gradient is: rounding errors too.
      expect(worst, `tensor ${index}`).toBeLessThan(index === 4 ? 1e-2 : 2e-4);
    }
  });

  const grouped = (operations: Operations, counts: Int32Array, inputs: number, units: number) => {
    const random = createRandom(inputs, units);
    const normal = (length: number) => Float32Array.from({ length }, () => random.normal());
    const [groups, rows] = [counts.length, counts.reduce((sum, count) => sum + count, 0)];
    const x = operations.tensor(normal(rows * inputs), [rows, inputs]);
    const weights = operations.tensor(normal(groups * inputs * units), [groups, inputs, units]);
    const bias = operations.tensor(normal(groups * units), [groups, units]);
    const options = { activation: 'relu' } as const;
    return operations.read(operations.groupedDense(x, weights, bias, counts, options));
  };

  test.each([
    ['all within reach', 1, [3, 0, 40], 20, 60],
    ['however many groups', 1, Array.from({ length: 100 }, (_, group) => group % 3), 5, 7],
    ['weights in windows that cut groups', 7, [5, 0, 20, 1, 9], 100, 64],
    ['weights in windows, of which empty groups need none', 3, [0, 3, 0, 0, 0], 100, 64],
    ['rows in windows', 2, [100, 0, 90], 20, 30],
    ['both in windows', 20, [60, 0, 1, 100], 100, 40],
  ] as const)('a layer of groups, %s: %i dispatches', async (_, dispatches, counts, inputs, units) => {
    const expected = await grouped(await operationsOn('cpu'), Int32Array.from(counts), inputs, units);
    runs.length = 0;
    const actual = await grouped(small, Int32Array.from(counts), inputs, units);
    expect(runs).toHaveLength(dispatches);
    const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
    expect(worst).toBeLessThan(1e-4);
    expect(actual).toHaveLength(expected.length);
  });

  test('a layer of groups whose rows no window can begin at is refused', () => {
    expect(() => grouped(small, Int32Array.of(1, 1, 1), 101, 101)).toThrow(/cannot be reached in windows/);
  });

  test('a head whose rows no window can begin at is refused', () => {
    const [x, weights] = [small.tensor(new Float32Array(64), [1, 64]), new Float32Array(64 * 101)];
    expect(() => small.dense(x, small.tensor(weights, [64, 101]), undefined)).toThrow(
      /multiple of 64 classes/,
    );
  });
});

describe.runIf(isThere)('what WebGPU would pass over in silence', () => {
  let operations: Operations;
  beforeAll(async () => {
    ({ operations } = await selectBackend('webgpu'));
  });

  test('a tensor that a kernel of TensorFlow.js cannot reach is refused, and what follows is right', async () => {
    const { device } = tf.findBackend('webgpu') as tf.KernelBackend & {
      readonly device: { readonly limits: { readonly maxStorageBufferBindingSize: number } };
    };
    const values = device.limits.maxStorageBufferBindingSize / 4 + 64;
    if (values > 2 ** 28) return; // more than a gigabyte: this device reaches far
    const large = operations.tensor(new Float32Array(values), [values]);
    expect(() => operations.sum(large)).toThrow(/lets a kernel of TensorFlow.js reach at most/);
    large.dispose();
    expect([...(await operations.read(operations.tensor(Float32Array.of(1, 2), [2])))]).toEqual([1, 2]);
    const ones = operations.tensor(new Float32Array(2000).fill(1), [2000]);
    expect((await operations.read(operations.sum(ones)))[0]).toBe(2000);
  });

  test('an error that the device reports is thrown by what reads next, and once', async () => {
    const backend = tf.findBackend('webgpu') as tf.KernelBackend & {
      readonly device: { createShaderModule(description: object): object };
    };
    const x = operations.square(operations.tensor(new Float32Array(2000).fill(3), [2000]));
    backend.device.createShaderModule({ code: 'this is no WGSL' });
    await expect(operations.read(x)).rejects.toMatchObject({ code: 'backend-failed' });
    expect((await operations.read(x))[0]).toBe(9);
  });

  test('labels and rows that are not there are refused', () => {
    const logits = operations.tensor(new Float32Array(12), [3, 4]);
    const labels = operations.tensor(Int32Array.of(0, 4, -1), [3]);
    expect(() => operations.softmaxCrossEntropy(logits, labels)).toThrow(/from 0 to 3, got 4 at row 1/);
    expect(() => operations.gatherRows(logits, labels)).toThrow(/from 0 to 2, got 4 at position 1/);
  });

  test('values that are not finite are found wherever they are', async () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      for (const place of [0, 16_384, 40_000]) {
        const values = new Float32Array(40_001);
        values[place] = bad;
        expect(await operations.areFinite([operations.tensor(values, [values.length])])).toBe(false);
      }
    }
    const fine = operations.tensor(new Float32Array(40_001).fill(3e38), [40_001]);
    expect(await operations.areFinite([fine, fine])).toBe(true);
  });
});
