import { execFileSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jsonOf, kdSpec } from '../fixtures/command-line.js';
import { copyOfTiny } from '../fixtures/tiny-workspace.js';

/** The interpreter of an environment with `kubernetes-validate`; `scripts/python-interop.sh` makes one and sets this. */
const python = process.env.KD_SPEC_TEST_PYTHON;
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
    expect(prepared.stderr).toContain('kd-spec jobs manifest | kubectl apply -f -');
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
    const isLimited = words !== '';
    expect(manifest.spec.template.spec.activeDeadlineSeconds).toBe(isLimited ? 4 * 3600 : undefined);
  });

  test('would be refused with a time limit that Kubernetes does not take', async () => {
    const { stdout } = await kdSpec(['jobs', 'manifest', '--time', '90'], { folder });
    const { errors } = validate(stdout.replace('activeDeadlineSeconds: 5400', 'activeDeadlineSeconds: 90m'));
    expect(Object.values(errors)).toEqual(versions.map(() => expect.stringContaining('integer')));
  });

  test.each(['soon', '0', '-5'])('takes no time limit of %s', async (time) => {
    const ended = await kdSpec(['jobs', 'manifest', `--time=${time}`], { folder });
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain(`--time: expected a time such as 90 (minutes) or 4:00:00, got "${time}"`);
  });

  test('would be refused with a key that Kubernetes does not know', async () => {
    const { stdout } = await kdSpec(['jobs', 'manifest'], { folder });
    const { errors } = validate(stdout.replace('completionMode:', 'completionMood:'));
    expect(Object.values(errors)).toEqual(versions.map(() => expect.stringContaining('completionMood')));
  });

  test('has pods train what is missing: each the position that Kubernetes gives it', async () => {
    const manifest = jsonOf(await kdSpec(['jobs', 'manifest', '--json'], { folder }));
    const [program, ...words] = manifest.spec.template.spec.containers[0].command;
    expect(program).toBe('kd-spec');
    const inPod = words.map((word: string) => (word === '/workspace' ? join(folder, 'kd-workspace') : word));
    for (let index = 0; index < manifest.spec.completions; index++) {
      const env = { JOB_COMPLETION_INDEX: String(index) };
      expect((await kdSpec(inPod, { folder, env })).code).toBe(0);
    }
    const collected = await kdSpec(['jobs', 'collect', '--quiet'], { folder });
    expect(collected).toMatchObject({ code: 0 });
    expect(collected.stdout).toContain('by jobs of kubernetes');
  });
});
