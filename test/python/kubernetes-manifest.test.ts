import { execFileSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kdSpec } from '../fixtures/command-line.js';
import { copyOfTiny } from '../fixtures/tiny-workspace.js';

/** The interpreter of an environment with `kubernetes-validate`; `scripts/python-interop.sh` makes one and sets this. */
const python = process.env.TEST_PYTHON;
const versions = ['1.29', '1.33', '1.37'];

/** What the official schemas say of a manifest, by version; null is nothing. */
function validate(manifest: string) {
  const script = join(import.meta.dirname, 'kubernetes_manifest.py');
  return JSON.parse(execFileSync(python ?? '', [script, ...versions], { input: manifest, encoding: 'utf8' }));
}

describe.skipIf(!python)('the manifest for Kubernetes', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await copyOfTiny({ without: ['specialists', 'ensemble', 'report'] });
    const prepared = await kdSpec(['train-specialists', '--engine', 'kubernetes'], { folder });
    expect(prepared.code).toBe(0);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const flags =
    '--image registry.example/kd-spec:1 --claim models --sub-path han --parallelism 2 --gpus 1 --memory 8Gi --time 4:00:00';

  test.each(['', flags])('fits the official schemas: %s', async (words) => {
    const { code, stdout } = await kdSpec(['jobs', 'manifest', ...words.split(' ').filter(Boolean)], {
      folder,
    });
    expect(code).toBe(0);
    const { manifest, errors } = validate(stdout);
    expect(errors).toEqual(Object.fromEntries(versions.map((version) => [version, null])));
    expect(manifest.spec).toMatchObject({ completionMode: 'Indexed', completions: 3 });
  });

  test('would be refused with a time limit that Kubernetes does not take', async () => {
    const { stdout } = await kdSpec(['jobs', 'manifest', '--time', '90'], { folder });
    const { errors } = validate(stdout.replace('activeDeadlineSeconds: 5400', 'activeDeadlineSeconds: 90m'));
    expect(Object.values(errors)).toEqual(versions.map(() => expect.stringContaining('integer')));
  });

  test('would be refused with a key that Kubernetes does not know', async () => {
    const { stdout } = await kdSpec(['jobs', 'manifest'], { folder });
    const { errors } = validate(stdout.replace('completionMode:', 'completionMood:'));
    expect(Object.values(errors)).toEqual(versions.map(() => expect.stringContaining('completionMood')));
  });
});
