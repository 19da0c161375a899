import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { selectBackend } from '../src/compute/backend.js';
import { silentLog } from '../src/core/log.js';
import { createRandom } from '../src/core/random.js';
import { compareRivals } from '../src/evaluation/rivals/compare-rivals.js';
import type { FeatureSet, Head } from '../src/training/heads/fit-head.js';

// Threads run what is built: a worker cannot load TypeScript on every Node that kd-spec runs on.
const built = (await import(
  new URL('../dist/evaluation/rivals/compare-rivals.js', import.meta.url).href
)) as { readonly compareRivals: typeof compareRivals };

const [width, classes, pictured] = [32, 4096, 12];

/** Points around the head's own weights of some classes. */
function points({ weights }: Head, name: string, rows: number, among: readonly number[]): FeatureSet {
  const random = createRandom('threads', name);
  const labels = Int32Array.from({ length: rows }, () => among[random.below(among.length)]);
  const features = Float32Array.from(
    { length: rows * width },
    (_, at) => weights[(at % width) * classes + labels[Math.floor(at / width)]] + 0.9 * random.normal(),
  );
  return { features, labels, rows, width };
}

test('rivals that are measured in threads come out as one after the other', async () => {
  const random = createRandom('threads', 'head');
  const head: Head = {
    width,
    classes,
    weights: Float32Array.from({ length: width * classes }, () => random.normal()),
    bias: new Float32Array(classes),
  };
  const [own, rest] = [
    Array.from({ length: pictured }, (_, c) => c),
    Array.from({ length: 8 }, (_, c) => 100 + c),
  ];
  const { operations } = await selectBackend('wasm');
  const context = {
    operations,
    head,
    train: points(head, 'train', 300, own),
    validation: points(head, 'validation', 500, own),
    imagesPerEpoch: 300,
    isPictured: Uint8Array.from({ length: classes }, (_, c) => Number(c < pictured)),
    inPlay: Int32Array.from([...own, ...rest]),
    epochs: 1,
    seed: 1,
    signal: new AbortController().signal,
  };
  const test = points(head, 'test', 500, own);
  const others = (name: string, rows: number) => points(head, name, rows, rest);
  const bystanders = { description: 'points', fit: others('fit', 250), test: others('others', 250) };
  const run = async (compare: typeof compareRivals, changes: Partial<typeof context> = {}) => {
    const heads = new Map<string, Head>();
    const report = await compare(
      { ...context, ...changes },
      {
        test,
        bystanders,
        ensemble: {
          test: new Int32Array(test.rows),
          bystanders: new Int32Array(bystanders.test.rows),
          cost: { flops: 0, parameters: 0, trainingSeconds: 0, trainingFlops: 0 },
          what: 'always the first class',
        },
        bound: 0.01,
        isImported: true,
        canRefit: true,
        keep: async (name, one) => void heads.set(name, one),
      },
      silentLog,
    );
    const rivals = report.rivals.map((rival) => ({ ...rival, trainingSeconds: 0 }));
    return { report: { ...report, rivals }, heads };
  };
  let started = 0;
  const count = () => started++;
  process.on('worker', count);
  const inThreads = await run(built.compareRivals);
  process.off('worker', count);
  const cores = availableParallelism();
  expect(started).toBe(cores > 1 ? Math.min(cores, 4) + Math.min(cores, 6) : 0); // sets, then groups
  const alone = await run(compareRivals);
  expect(inThreads.report).toEqual(alone.report);
  expect(inThreads.heads.size).toBeGreaterThan(2);
  for (const [name, one] of alone.heads) expect(inThreads.heads.get(name), name).toEqual(one);
  const stopped = run(built.compareRivals, { signal: AbortSignal.timeout(300) });
  await expect(stopped).rejects.toMatchObject({ code: 'interrupted' });
});
