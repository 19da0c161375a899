import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hashFile } from '../../src/core/file-hashes.js';
import { kdSpec, startKdSpec } from '../fixtures/command-line.js';
import { copyOfTiny } from '../fixtures/tiny-workspace.js';

const patienceMs = 240_000;

test('a sweep that is stopped goes on, and ends with the very student of one that was not', {
  timeout: patienceMs,
}, async () => {
  const words = [
    'distill',
    '--teacher',
    'generalist',
    '--temperature',
    '1,4',
    '--student-epochs',
    '25',
    '--backend',
    'wasm',
  ];
  const [whole, stopped] = [await copyOfTiny(), await copyOfTiny()];
  try {
    expect((await kdSpec(words, { folder: whole })).code).toBe(0);
    const { child, finished } = startKdSpec(words, { folder: stopped });
    let output = '';
    child.stderr?.on('data', (chunk) => {
      output += chunk;
      // The first student is trained, the second under way.
      if (/student at T = 1: done/.test(output)) setTimeout(() => child.kill('SIGTERM'), 200);
    });
    const { code } = await finished;
    expect(code).toBe(75);
    const resumed = await kdSpec(words, { folder: stopped });
    expect(resumed.stderr).toMatch(/going on with what was interrupted/);
    expect(resumed.stderr).not.toMatch(/student at T = 1: done/);
    const [a, b] = [whole, stopped].map((folder) =>
      join(folder, 'kd-workspace', 'student', 'model.safetensors'),
    );
    expect(await hashFile(b)).toBe(await hashFile(a));
  } finally {
    for (const folder of [whole, stopped]) await rm(folder, { recursive: true, force: true });
  }
});
