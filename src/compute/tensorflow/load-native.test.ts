import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { describeBackends, selectBackend } from '../backend.js';
import { createSelector } from '../selector.js';
import { wasm } from '../wasm/backend.js';
import { tensorflow, tensorflowGpu } from './backend.js';
import { loadNative } from './load-native.js';
import { type Flavour, nativeFolder, nativeManifestFile } from './native-package.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-native-'));
  vi.stubEnv('KD_SPEC_NATIVE', folder);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

/** A folder as `npm run native` leaves it, with an addon that is none. */
async function pretendToBuild(flavour: Flavour, { addon }: { addon: boolean }): Promise<void> {
  const library = join(nativeFolder(flavour), 'node_modules', '@tensorflow', 'tfjs-node', 'lib');
  await mkdir(addon ? join(library, 'napi-v8') : library, { recursive: true });
  const manifest = { origin: 'TensorFlow of a test', madeAt: '2026-01-01T00:00:00.000Z' };
  await writeFile(join(nativeFolder(flavour), nativeManifestFile), JSON.stringify(manifest));
}

test('what is not there is said to be missing, and is not loaded', async () => {
  expect(tensorflow.find()).toEqual({ isAvailable: false, reason: 'not installed' });
  expect(await loadNative('tensorflow')).toEqual({ missing: 'not installed' });
  await pretendToBuild('tensorflow', { addon: false });
  expect(tensorflow.find()).toEqual({ isAvailable: false, reason: 'not installed' });
});

test('what npm run native made is found, and doctor says where it came from', async () => {
  await pretendToBuild('tensorflow', { addon: true });
  expect(tensorflow.find().isAvailable).toBe(true);
  const described = (await describeBackends()).find(({ name }) => name === 'tensorflow');
  expect(described).toEqual({
    name: 'tensorflow',
    available: true,
    reason: `TensorFlow of a test, in ${nativeFolder('tensorflow')}`,
    install: '',
  });
});

test('a build for GPUs is not used on a machine without one', async () => {
  await pretendToBuild('tensorflow-gpu', { addon: true });
  const hasDriver = existsSync('/dev/nvidiactl') || existsSync('/dev/dxg');
  if (hasDriver || process.platform !== 'linux') expect(tensorflowGpu.find().isAvailable).toBe(true);
  else {
    expect(tensorflowGpu.find().reason).toContain('this machine shows no NVIDIA GPU');
    await expect(selectBackend('tensorflow-gpu')).rejects.toMatchObject({
      code: 'backend-unavailable',
      message: expect.stringMatching(/no NVIDIA GPU.*: install NVIDIA's driver for its GPU, or choose/),
    });
    // A selector of its own: the one of the process remembers what `auto` took before, in another file of tests too.
    const { reason } = await createSelector([tensorflowGpu, wasm]).select('auto', {});
    expect(reason).toContain('tensorflow-gpu: installed, but this machine shows');
  }
});
