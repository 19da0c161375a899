import { spawnSync } from 'node:child_process';
import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { type BackendName, describeBackends, selectBackend } from './backend.js';

test('wasm is there, with SIMD', async () => {
  const backend = await selectBackend('wasm');
  expect(backend).toMatchObject({ name: 'wasm', reason: 'requested by name' });
  expect(backend.operations.backend).toBe('wasm');
  expect(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')).toBe(true);
});

test('auto takes the first backend that doctor calls available, and says why', async () => {
  const available = (await describeBackends()).filter((backend) => backend.available);
  const { name, reason } = await selectBackend('auto');
  expect(available.map((backend) => backend.name)).toContain(name);
  expect(reason).toContain('fastest');
});

test('doctor knows how to get what is missing', async () => {
  const backends = await describeBackends();
  expect(backends.map(({ name }) => name)).toEqual(['tensorflow-gpu', 'webgpu', 'tensorflow', 'wasm']);
  for (const { available, install } of backends) expect(install !== '').toBe(!available);
});

test('a backend that is not installed is refused with what to type', async () => {
  const missing = (await describeBackends()).find((backend) => !backend.available);
  const name = (missing?.name ?? 'webgl') as BackendName;
  await expect(selectBackend(name)).rejects.toMatchObject({
    code: 'backend-unavailable',
    message: expect.stringContaining(missing?.install ?? '--backend wasm'),
  });
});

test('TensorFlow.js says nothing of its own, even when its cpu backend is used', () => {
  const program = `
    const { selectBackend } = await import('./src/compute/backend.ts');
    const tf = await import('@tensorflow/tfjs');
    await selectBackend('wasm');
    await tf.setBackend('cpu');
    tf.tensor([1]).add(1).dataSync();`;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '--eval', program],
    { encoding: 'utf8' },
  );
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
});
