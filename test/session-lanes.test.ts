import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { createRandom } from '../src/core/random.js';
import type { InputForm, Reading } from '../src/models/onnx/reading.js';
import { floats, integers, modelFile, node } from './support/onnx-models.js';

// Threads run what is built: a worker cannot load TypeScript on every Node that kd-spec runs on.
const built = <Module>(name: string) =>
  import(new URL(`../dist/models/onnx/${name}.js`, import.meta.url).href) as Promise<Module>;
const { openSession } = await built<typeof import('../src/models/onnx/runtime.js')>('runtime');
const { openImageSession } =
  await built<typeof import('../src/models/onnx/image-session.js')>('image-session');

const side = 24;
const channels = 48;
const random = createRandom('lanes');
const normals = (count: number) => Float32Array.from({ length: count }, () => 0.05 * random.normal());

/** Convolutions that keep a processor busy for some milliseconds an image. */
const modelOf = (takesOne: boolean) =>
  modelFile({
    nodes: [
      ...(takesOne ? [node('Reshape', ['image', 'one'], ['one image'])] : []),
      node('Conv', [takesOne ? 'one image' : 'image', 'w0'], ['v0'], {
        kernel_shape: [3, 3],
        pads: [1, 1, 1, 1],
      }),
      node('Conv', ['v0', 'w1'], ['v1'], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
      node('Conv', ['v1', 'w1'], ['v2'], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
      node('GlobalAveragePool', ['v2'], ['out']),
    ],
    initializers: [
      floats('w0', [channels, 1, 3, 3], normals(channels * 9)),
      floats('w1', [channels, channels, 3, 3], normals(channels * channels * 9)),
      integers('one', [4], BigInt64Array.of(1n, 1n, BigInt(side), BigInt(side))),
    ],
    outputs: ['out'],
    input: ['batch', 1, side, side],
  });
const processors = availableParallelism();

test('a model that has much to do in WebAssembly runs in a lane for each processor', async () => {
  const session = await openSession(modelOf(false), { name: 'model', runtime: 'wasm' });
  const count = 32;
  const shape = [count, 1, side, side];
  const image = { type: 'float32' as const, data: normals(count * side * side), shape };
  const run = async (lane?: number) => (await session.run({ image }, ['out'], lane)).get('out')?.values;
  expect(session.lanes).toBe(1);
  const alone = await run();
  const start = performance.now();
  while (session.lanes === 1 && performance.now() - start < 20_000) await run();
  expect(session.lanes).toBe(Math.min(processors, 8));
  const lanes = Array.from({ length: session.lanes }, (_, lane) => run(lane));
  for (const values of await Promise.all(lanes)) expect(values).toEqual(alone);
  session.dispose();
});

const form: InputForm = {
  type: 'float32',
  layout: 'channels-first',
  image: { height: side, width: side, channels: 1 },
};
const reading: Reading = { order: 'rgb', normalisation: { name: '0 to 1', mean: [0], deviation: [1] } };

test.each([
  {
    name: 'of any number',
    batch: undefined,
    takesOne: false,
    atOnce: Math.ceil(61 / Math.min(processors, 7)),
  },
  { name: 'one by one', batch: 1, takesOne: false, atOnce: 1 },
  { name: '32 at a time', batch: 32, takesOne: false, atOnce: 32 },
  { name: 'one by one without saying so', batch: undefined, takesOne: true, atOnce: 1 },
])('images come out of lanes in their order, of a model that takes them $name', async (kind) => {
  const { batch, takesOne, atOnce } = kind;
  const feed = { name: 'image', form, reading, batch };
  const session = await openImageSession(modelOf(takesOne), feed, { path: 'model', runtime: 'wasm' });
  const count = 61;
  const images = normals(count * side * side);
  const runOnce = async () => {
    const values = new Float32Array(count * channels);
    const parts: { readonly first: number; readonly count: number; readonly ran: number }[] = [];
    await session.run({ images, count }, ['out'], ({ results, ...part }) => {
      parts.push(part);
      const rows = results.get('out')?.values.subarray(0, part.count * channels);
      values.set(rows ?? [], part.first * channels);
    });
    return { values, parts };
  };
  const first = await runOnce();
  const start = performance.now();
  let last = first;
  for (let runs = 1; runs < 3 || performance.now() - start < 1600; runs++) last = await runOnce();
  const { parts, values } = last;
  expect(values).toEqual(first.values);
  let next = 0;
  for (const part of parts) {
    expect(part.first).toBe(next);
    next += part.count;
  }
  expect(next).toBe(count);
  expect(parts[0].count).toBeLessThanOrEqual(atOnce);
  expect(parts.reduce((sum, { ran }) => sum + ran, 0)).toBe(
    batch === undefined ? count : Math.ceil(count / batch) * batch,
  );
  session.dispose();
});
