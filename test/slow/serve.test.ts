import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openDataset } from '../../src/data/dataset.js';
import { examples } from '../../src/data/examples.js';
import { startKdSpec } from '../fixtures/command-line.js';
import { bodyOf, classifyPng, servers } from '../fixtures/server.js';
import { copyOfTiny } from '../fixtures/tiny-workspace.js';

const serve = servers();

async function firstImage(workspace: string): Promise<Uint8Array> {
  const { splits } = await openDataset(join(workspace, 'dataset'));
  for await (const { bytes } of examples(splits.test)) return bytes.slice();
  throw new Error('the test images are missing');
}

test('another ensemble in the workspace is taken up while requests go on, and none of them fails', async () => {
  const copy = await copyOfTiny();
  const workspace = join(copy, 'kd-workspace');
  const png = await firstImage(workspace);
  const { call } = await serve(['--workspace', workspace, '--reload-seconds', '1'], copy);
  const { model } = await bodyOf(await call('/v1'));
  const again = ['calibrate', '--workspace', workspace, '--rule', 'paper', '--quiet'];
  let isDone = false;
  const calibrated = startKdSpec(again, { folder: copy }).finished.finally(() => {
    isDone = true;
  });
  const versions = new Set<string | null>();
  const deadline = Date.now() + 120_000;
  while (Date.now() < deadline && !(isDone && [...versions].at(-1) !== model)) {
    const response = await call('/v1/classify?top=1', { ...classifyPng, body: png });
    expect(response.status).toBe(200);
    await response.arrayBuffer();
    versions.add(response.headers.get('x-model-version'));
  }
  expect(await calibrated).toMatchObject({ code: 0 });
  expect(versions.size).toBe(2);
  expect([...versions][0]).toBe(model);
  await rm(copy, { recursive: true, force: true });
});
