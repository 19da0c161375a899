import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { KdSpecError } from '../core/errors.js';
import type { BackendKind } from './backend-kind.js';
import { createSelector } from './selector.js';
import { wasm } from './wasm/backend.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-selector-'));
  vi.stubEnv('XDG_CACHE_HOME', folder);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

const remembered = () => readFile(join(folder, 'kd-spec', 'measurements.json'), 'utf8');

/** A backend that is wasm under another name. */
function kind(name: string, options: { version?: string; device?: string; software?: boolean } = {}) {
  const { version = '1', device, software = false } = options;
  return {
    name,
    install: `npm install ${name}`,
    usesGpu: false,
    find: () => ({ isAvailable: true, reason: `${name} ${version}` }),
    load: vi.fn(async ({ isNamed }: { readonly isNamed: boolean }) => {
      if (software && !isNamed) return { missing: 'a software driver alone' };
      const operations = await wasm.load();
      return 'missing' in operations
        ? operations
        : { ...operations, backend: name, ...(device !== undefined && { device }) };
    }),
  } as const satisfies BackendKind;
}

/** A trial with the rate of each backend. */
function trial(rates: Readonly<Record<string, number>>, name = 'a network', inParallel = false) {
  const run = vi.fn(async ({ backend }: { readonly backend: string }) => {
    const rate = rates[backend];
    if (rate === undefined) throw new KdSpecError('backend-failed', 'too large');
    return rate;
  });
  return { name, inParallel, run };
}

test('auto takes what was fastest at the trial, measures once, and says so', async () => {
  const kinds = () => [kind('gpu', { device: 'a GPU' }), kind('library'), kind('plain')];
  const rates = { gpu: 100, library: 3000, plain: 200 };
  const first = trial(rates);
  const selector = createSelector(kinds());
  const selected = await selector.select('auto', { trial: first });
  expect(selected.name).toBe('library');
  expect(selected.reason).toBe('the fastest here: library 3,000, plain 200, gpu 100 examples/s');
  expect(first.run).toHaveBeenCalledTimes(3);

  const [again, others] = [trial(rates), kinds()];
  const elsewhere = createSelector(others); // another process
  expect((await elsewhere.select('auto', { trial: again })).name).toBe('library');
  expect(again.run).not.toHaveBeenCalled();
  expect(others.map(({ load }) => load.mock.calls.length)).toEqual([0, 1, 0]);
  expect((await elsewhere.measurements()).map(({ trial }) => trial)).toEqual(['a network']);
});

test('another network and other versions are measured again; without a trial the last choice holds', async () => {
  const kinds = (version = '1') => [kind('gpu', { version }), kind('plain')];
  const selector = createSelector(kinds());
  expect((await selector.select('auto', {})).name).toBe('gpu'); // nothing is known: the order of the table
  expect((await selector.select('auto', { trial: trial({ gpu: 1, plain: 2 }, 'small') })).name).toBe('plain');
  expect((await selector.select('auto', {})).name).toBe('plain');
  expect((await selector.select('auto', { trial: trial({ gpu: 2, plain: 1 }, 'large') })).name).toBe('gpu');
  expect((await selector.select('auto', {})).name).toBe('gpu');
  expect((await createSelector(kinds()).select('auto', {})).name).toBe('gpu'); // the newest

  const newer = trial({ gpu: 1, plain: 3 }, 'large');
  expect((await createSelector(kinds('2')).select('auto', { trial: newer })).name).toBe('plain');
  expect(newer.run).toHaveBeenCalledTimes(2);
});

test('another GPU is measured again', async () => {
  const kinds = (device: string) => [kind('gpu', { device }), kind('plain')];
  const rates = { gpu: 5, plain: 1 };
  await createSelector(kinds('old')).select('auto', { trial: trial(rates) });
  const again = trial({ gpu: 1, plain: 5 });
  expect((await createSelector(kinds('new')).select('auto', { trial: again })).name).toBe('plain');
  expect(again.run).toHaveBeenCalledTimes(2);
});

test('where only one loads nothing is measured, and a software driver is never taken', async () => {
  const kinds = [kind('gpu', { software: true }), kind('plain')];
  const selector = createSelector(kinds);
  expect((await selector.select('gpu', {})).name).toBe('gpu');
  const work = trial({ gpu: 9, plain: 1 });
  expect((await selector.select('auto', { trial: work })).name).toBe('plain');
  expect(work.run).not.toHaveBeenCalled();
  await expect(remembered()).rejects.toThrow('ENOENT');
  const alone = trial({ plain: 1 });
  expect((await createSelector([kind('plain')]).select('auto', { trial: alone })).name).toBe('plain');
  expect(alone.run).not.toHaveBeenCalled();
});

test('what refuses the work is not taken; a damaged memory is measured again', async () => {
  const kinds = () => [kind('gpu'), kind('plain')];
  expect((await createSelector(kinds()).select('auto', { trial: trial({ plain: 1 }) })).name).toBe('plain');
  await writeFile(join(folder, 'kd-spec', 'measurements.json'), '{');
  const again = trial({ gpu: 2, plain: 1 });
  expect((await createSelector(kinds()).select('auto', { trial: again })).name).toBe('gpu');
  expect(JSON.parse(await remembered())).toHaveLength(1);
});
