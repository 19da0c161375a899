import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { findDamage, findManifest, type Manifest, readManifest, verifyArtefact } from './artefact.js';
import {
  artefactFolder,
  beginArtefact,
  commitArtefact,
  recoverArtefact,
  suspendArtefact,
  tidyWorkspace,
} from './artefact-writer.js';
import { KdSpecError } from './errors.js';

/** Counts the calls that change the disk and, from the n-th on, fails them all, as if the process were gone. */
const power = vi.hoisted(() => ({ callsLeft: Number.POSITIVE_INFINITY }));
vi.mock('node:fs/promises', async (original) => {
  const actual = await original<typeof import('node:fs/promises')>();
  const cut =
    <Arguments extends unknown[], Result>(call: (...values: Arguments) => Promise<Result>) =>
    (...values: Arguments) =>
      power.callsLeft-- > 0 ? call(...values) : Promise.reject(new Error('power cut'));
  return { ...actual, rename: cut(actual.rename), rm: cut(actual.rm), open: cut(actual.open) };
});

let workspace: string;
beforeEach(async () => {
  workspace = await mkdtemp(join(tmpdir(), 'kd-spec-artefact-'));
});
afterEach(async () => {
  power.callsLeft = Number.POSITIVE_INFINITY;
  await rm(workspace, { recursive: true, force: true });
});

const identity = (epochs: number) => ({
  parameters: { epochs },
  seed: 1,
  inputs: { dataset: 'a'.repeat(64) },
});

async function make(epochs: number): Promise<Manifest> {
  const { directory, startedAt } = await beginArtefact(workspace, 'generalist', identity(epochs));
  await mkdir(join(directory, 'parts'), { recursive: true });
  await writeFile(join(directory, 'weights'), `weights of ${epochs} epochs`);
  await writeFile(join(directory, 'parts', 'b.txt'), 'b');
  return commitArtefact(workspace, {
    stage: 'generalist',
    kdSpecVersion: '0.0.0',
    ...identity(epochs),
    backend: 'wasm',
    metrics: { loss: 0.5 },
    startedAt,
    finishedAt: startedAt,
    seconds: 1,
  });
}
const place = () => artefactFolder(workspace, 'generalist');

test('what is committed is read back, and its digest is that of the content', async () => {
  const first = await make(1);
  expect(await readManifest(place())).toEqual(first);
  expect(first.files.map(({ path, bytes }) => [path, bytes])).toEqual([
    ['parts/b.txt', 1],
    ['weights', 19],
  ]);
  expect((await make(2)).digest).not.toBe(first.digest);
  expect((await make(1)).digest).toBe(first.digest);
});

describe('a kill at any moment', () => {
  test('leaves the older artefact or the newer one, whole', async () => {
    const older = await make(1);
    const newer = await make(2);
    const survivors = new Set<string>();
    for (let calls = 0; ; calls++) {
      await make(1);
      power.callsLeft = calls;
      const wasCut = await make(2).then(
        () => false,
        () => true,
      );
      power.callsLeft = Number.POSITIVE_INFINITY;
      await recoverArtefact(workspace, 'generalist');
      const { digest } = await verifyArtefact(place());
      expect([older.digest, newer.digest]).toContain(digest);
      survivors.add(digest);
      await tidyWorkspace(workspace);
      const unfinished = await readdir(join(workspace, '.partial'));
      if (!unfinished.includes('generalist')) expect(unfinished).toEqual([]);
      if (!wasCut) break;
      expect(calls).toBeLessThan(100);
    }
    expect(survivors.size).toBe(2);
  });

  test('during the recovery from a kill is recovered from', async () => {
    const whole = [await make(1), await make(2)].map(({ digest }) => digest);
    await make(1);
    power.callsLeft = 1000;
    await make(2);
    const calls = 1000 - power.callsLeft;
    for (let commitCalls = calls - 6; commitCalls < calls; commitCalls++) {
      for (let recoveryCalls = 0; recoveryCalls < 5; recoveryCalls++) {
        power.callsLeft = Number.POSITIVE_INFINITY;
        await make(1);
        power.callsLeft = commitCalls;
        await expect(make(2)).rejects.toThrow('power cut');
        power.callsLeft = recoveryCalls;
        await recoverArtefact(workspace, 'generalist').catch(() => {});
        power.callsLeft = Number.POSITIVE_INFINITY;
        await recoverArtefact(workspace, 'generalist');
        expect(whole).toContain((await verifyArtefact(place())).digest);
      }
    }
  });
});

describe('an unfinished artefact', () => {
  test('is continued by the same identity, with the time it took so far', async () => {
    const { directory, startedAt } = await beginArtefact(workspace, 'generalist', identity(1));
    await writeFile(join(directory, 'checkpoint'), 'half');
    await suspendArtefact(workspace, 'generalist', identity(1), { startedAt, seconds: 12 });
    const again = await beginArtefact(workspace, 'generalist', identity(1));
    expect(again).toEqual({ directory, start: 'continued', seconds: 12, startedAt });
    expect(await readFile(join(directory, 'checkpoint'), 'utf8')).toBe('half');
    expect(await findManifest(place())).toBeUndefined();
  });

  test.each([
    ['of another identity', identity(2), {}],
    ['that is not to be resumed', identity(1), { resume: false }],
  ])('%s is discarded', async (_, next, options) => {
    const { directory } = await beginArtefact(workspace, 'generalist', identity(1));
    await writeFile(join(directory, 'checkpoint'), 'half');
    expect((await beginArtefact(workspace, 'generalist', next, options)).start).toBe('discarded');
    await expect(readFile(join(directory, 'checkpoint'))).rejects.toThrow('ENOENT');
  });
});

test('what killed processes left unfinished is no part of an artefact, and does not stay', async () => {
  const { directory } = await beginArtefact(workspace, 'generalist', identity(1));
  await mkdir(join(directory, 'parts'));
  const leftovers = [
    join(workspace, 'pipeline.yaml.77.partial'),
    join(workspace, '.partial', 'generalist.json.77.partial'),
    join(directory, 'manifest.json.77.partial'),
    join(directory, 'parts', 'metrics.jsonl.77.partial'),
  ];
  for (const path of leftovers) await writeFile(path, '{');
  await tidyWorkspace(workspace);
  const { files } = await make(1);
  expect(files.map(({ path }) => path)).toEqual(['parts/b.txt', 'weights']);
  expect((await readdir(workspace, { recursive: true })).filter((name) => name.endsWith('.partial'))).toEqual(
    ['.partial'],
  );
});

describe('damage', () => {
  test('of size, of content and by deletion is named', async () => {
    const manifest = await make(1);
    const weights = join(place(), 'weights');
    expect(await findDamage(place(), manifest)).toBeUndefined();

    await writeFile(weights, 'weights of 9 epochs');
    await utimes(weights, new Date(), new Date(Date.now() + 5000));
    expect(await findDamage(place(), manifest)).toBe('weights does not have the content that was written');
    await expect(verifyArtefact(place())).rejects.toThrow('weights does not have the content');

    await writeFile(weights, 'short');
    expect(await findDamage(place(), manifest)).toBe('weights has 5 bytes, expected 19');
    await rm(weights);
    expect(await findDamage(place(), manifest)).toBe('weights is missing');
  });

  test.each([
    ['not JSON', '{', 'expected JSON'],
    ['another version', '{"formatVersion": 9}', 'formatVersion'],
  ])('of the manifest: %s', async (_, text, message) => {
    await make(1);
    await writeFile(join(place(), 'manifest.json'), text);
    const error = await readManifest(place()).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(KdSpecError);
    expect(error).toMatchObject({ code: 'artefact-corrupt', message: expect.stringContaining(message) });
  });
});
