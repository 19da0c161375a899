import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDataset } from '../src/data/dataset.js';
import { examples } from '../src/data/examples.js';
import { forwardFlops } from '../src/models/network-definition.js';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';

/** Specialists whose softmax is over all classes, through every stage that comes after them. */
let folder: string;
beforeAll(async () => {
  folder = await copyOfTiny();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const full = ['--specialist-head', 'full'];
const jsonOfCommand = async (...words: string[]) => jsonOf(await kdSpec([...words, '--json'], { folder }));

test('specialists over all classes are trained, fused, reported and asked like the others', async () => {
  const before = await jsonOfCommand('evaluate');
  const { stages } = await jsonOfCommand('run', 'tiny.yaml', ...full, '--no-select', '--routed-share', '0.5');
  expect(stages.subsets.status).toBe('up-to-date');
  expect(stages.specialists.status).toBe('made');

  const file = join(folder, 'kd-workspace', 'specialists', '0', 'config.json');
  const config = JSON.parse(await readFile(file, 'utf8'));
  expect(config).toMatchObject({ head: 'full', firstDivergence: 0, network: { outputs: 60 } });
  expect(config.dustbin.routed.share).toBe(0.5);

  // What it costs is counted with every output of its head.
  const { inference, test: score } = await jsonOfCommand('evaluate');
  expect(inference.active).toBeGreaterThan(0);
  expect(inference.ensembleFlops - inference.generalistFlops).toBeCloseTo(
    inference.active * forwardFlops(config.network, { from: 'dense' }),
    3,
  );
  expect(score.generalist).toEqual(before.test.generalist);

  const { splits } = await openDataset(join(folder, 'kd-workspace', 'dataset'));
  for await (const { bytes } of examples(splits.test)) {
    await writeFile(join(folder, 'image.png'), bytes);
    break;
  }
  const { images } = await jsonOfCommand('infer', '--image', 'image.png');
  const [{ specialists }] = images;
  expect(specialists).toHaveLength(1); // of the three of a partition
  for (const { dustbin, top } of specialists) {
    expect(dustbin).toBeGreaterThan(0);
    expect(dustbin + top[0].probability).toBeLessThan(1);
  }
});

test.each([
  [['--retrain', 'all'], /need cached features/],
  [['--specialist-label-smoothing', '0.1'], /with --specialist-head full use --soft-share/],
])('what a full head cannot be combined with is refused: %s', async (words, message) => {
  const { code, stderr } = await kdSpec(['train-specialists', ...full, ...words], { folder });
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
});
