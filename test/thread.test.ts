import { expect, test } from 'vitest';

// A thread runs what is built.
const { runInThread, runInThreads } = (await import(
  new URL('../dist/core/thread.js', import.meta.url).href
)) as typeof import('../src/core/thread.js');

/** A task of a module that is this text. */
const task = (body: string) => ({
  module: `data:text/javascript,${encodeURIComponent(`export const task = { run: (given) => { ${body} } };`)}`,
  name: 'task',
  run: (_: unknown): unknown => 'it ran here',
});
const never = new AbortController().signal;

test('a task computes in a thread, on memory that it shares', async () => {
  const shared = new Int32Array(new SharedArrayBuffer(8));
  const doubled = task('given[1] = 7; return given[0] * 2;');
  shared[0] = 21;
  expect(await runInThread(doubled, shared, { signal: never, doing: 'doubling' })).toBe(42);
  expect(shared[1]).toBe(7);
});

test('one without an end is over soon after an abort, and timers go on meanwhile', async () => {
  const stop = new AbortController();
  let turns = 0;
  const ticking = setInterval(() => {
    if (++turns === 5) stop.abort();
  }, 10);
  const endless = runInThread(task('for (;;);'), null, { signal: stop.signal, doing: 'counting' });
  await expect(endless).rejects.toMatchObject({ code: 'interrupted', message: 'counting: stopped' });
  clearInterval(ticking);
  expect(turns).toBeGreaterThanOrEqual(5);
  await expect(
    runInThread(task('return 1;'), null, { signal: stop.signal, doing: 'counting' }),
  ).rejects.toMatchObject({ code: 'interrupted' });
});

test('a thread takes one task after the other, and the first that fails ends all', async () => {
  const counting = task(`globalThis.tasks = (globalThis.tasks ?? 0) + 1;
    if (given === 'fails') throw new Error('this one fails');
    return [given, globalThis.tasks];`);
  const options = { signal: never, doing: 'counting' };
  const taken: unknown[] = [];
  const each = (result: unknown) => {
    taken.push(result);
  };
  const found = await runInThreads(counting, ['a', 'b', 'c'], { ...options, threads: 1, each });
  expect(found).toEqual([
    ['a', 1],
    ['b', 2],
    ['c', 3],
  ]);
  expect(taken).toEqual(found);
  const two = await runInThreads(counting, ['a', 'b', 'c', 'd'], { ...options, threads: 2 });
  expect(two.map((one) => (one as unknown[])[0])).toEqual(['a', 'b', 'c', 'd']);
  const failing = runInThreads(counting, ['a', 'fails', 'c'], { ...options, threads: 1, each });
  await expect(failing).rejects.toThrow('this one fails');
  expect(taken.slice(3)).toEqual([['a', 1]]);
});

test('what a task throws is thrown here, with its code', async () => {
  const errors = new URL('../dist/core/errors.js', import.meta.url).href;
  const module = `data:text/javascript,${encodeURIComponent(
    `import { KdSpecError } from ${JSON.stringify(errors)};
     export const known = { run: () => { throw new KdSpecError('subsets-invalid', 'no such subsets'); } };
     export const unknown = { run: () => null.x };`,
  )}`;
  const run = (name: string) =>
    runInThread({ module, name, run: () => 0 }, null, { signal: never, doing: 'failing' });
  await expect(run('known')).rejects.toMatchObject({ code: 'subsets-invalid', message: 'no such subsets' });
  await expect(run('unknown')).rejects.toThrow(/reading 'x'/);
  await expect(run('missing')).rejects.toThrow(/has no export missing/);
});
