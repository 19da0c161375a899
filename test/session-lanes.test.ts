import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { createRandom } from '../src/core/random.js';
import type { InputForm, Reading } from '../src/models/onnx/reading.js';
import { floats, modelFile, node } from './support/onnx-models.js';

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
const bytes = modelFile({
  nodes: [
    node('Conv', ['image', 'w0'], ['v0'], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
    node('Conv', ['v0', 'w1'], ['v1'], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
    node('Conv', ['v1', 'w1'], ['v2'], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
    node('GlobalAveragePool', ['v2'], ['out']),
  ],
  initializers: [
    floats('w0', [channels, 1, 3, 3], normals(channels * 9)),
    floats('w1', [channels, channels, 3, 3], normals(channels * channels * 9)),
  ],
  outputs: ['out'],
  input: ['batch', 1, side, side],
});

test('a model that has much to do in WebAssembly runs in a lane for each processor', async () => {
  const session = await openSession(bytes, { name: 'model', runtime: 'wasm' });
  const count = 32;
  const shape = [count, 1, side, side];
  const image = { type: 'float32' as const, data: normals(count * side * side), shape };
  const run = async (lane?: number) => (await session.run({ image }, ['out'], lane)).get('out')?.values;
  expect(session.lanes).toBe(1);
  const first = await run();
  const start = performance.now();
  while (session.lanes === 1 && performance.now() - start < 20_000) await run();
  expect(session.lanes).toBe(Math.min(availableParallelism(), 8));
  const lanes = Array.from({ length: session.lanes }, (_, lane) => run(lane));
  for (const values of await Promise.all(lanes)) expect(values).toEqual(first);
  session.dispose();
});

test.each([undefined, 1, 3])('images come out in their order from lanes, %s at a time', async (batch) => {
  const form: InputForm = {
    type: 'float32',
    layout: 'channels-first',
    image: { height: side, width: side, channels: 1 },
  };
  const reading: Reading = {
    order: 'rgb',
    normalisation: { name: '0 to 1', mean: [0], deviation: [1] },
  };
  const feed = { name: 'image', form, reading, batch };
  const session = await openImageSession(bytes, feed, { path: 'model', runtime: 'wasm' });
  const count = 61;
  const images = normals(count * side * side);
  const values = new Float32Array(count * channels);
  const parts: number[] = [];
  const start = performance.now();
  const runs: Float32Array[] = [];
  while (runs.length < 2 || performance.now() - start < 1500) {
    parts.length = 0;
    await session.run({ images, count }, ['out'], (part) => {
      parts.push(part.first);
      const rows = part.results.get('out')?.values.subarray(0, part.count * channels);
      values.set(rows ?? [], part.first * channels);
    });
    runs.push(values.slice());
  }
  expect(parts).toEqual(parts.toSorted((a, b) => a - b));
  expect(parts.length).toBeGreaterThanOrEqual(Math.min(2, availableParallelism()));
  for (const later of runs) expect(later).toEqual(runs[0]);
  session.dispose();
});
