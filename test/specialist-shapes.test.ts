import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDataset } from '../src/data/dataset.js';
import { examples } from '../src/data/examples.js';
import { forwardFlops } from '../src/models/network-definition.js';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';

/** Specialists over all classes, and with wider layers than the generalist's, through every stage after them. */
let folder: string;
beforeAll(async () => {
  folder = await copyOfTiny();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const jsonOfCommand = async (...words: string[]) => jsonOf(await kdSpec([...words, '--json'], { folder }));
const configOf = async (artefact: string) =>
  JSON.parse(await readFile(join(folder, 'kd-workspace', artefact, 'config.json'), 'utf8'));

test('wide specialists over all classes are trained, fused, reported and queried like the others', async () => {
  const before = await jsonOfCommand('evaluate');
  const { dense } = (await configOf('generalist')).network;
  const wider = dense.map((units: number) => 2 * units);
  const shape = ['--rule', 'combine', '--specialist-head', 'full', '--specialist-dense', wider.join()];
  const { stages } = await jsonOfCommand(
    ...['run', 'tiny.yaml', ...shape, '--no-select', '--routed-share', '0.5'],
  );
  expect(stages.subsets.status).toBe('up-to-date');
  expect(stages.specialists.status).toBe('made');
  const config = await configOf('specialists/0');
  expect(config).toMatchObject({ head: 'full', firstDivergence: 0, network: { outputs: 60, dense: wider } });
  expect(config.dustbin.routed.share).toBe(0.5);

  // What it costs is counted with every unit of its own width, and every output of its head.
  const { inference, test: score } = stages.report.metrics;
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
  [['--specialist-head', 'full', '--retrain', 'all'], /need cached features/],
  [
    ['--specialist-head', 'full', '--specialist-label-smoothing', '0.1'],
    /with --specialist-head full use --soft-share/,
  ],
  [['--specialist-dense', '8'], /none below the generalist's/],
  [['--specialist-dense', '500,500'], /expected 1 widths/],
  [['--specialist-dense', '500', '--retrain', 'head'], /leave one of the two at its default/],
])('what cannot be combined, and widths that do not fit, are refused: %s', async (words, message) => {
  const { code, stderr } = await kdSpec(['train-specialists', ...words], { folder });
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
});
