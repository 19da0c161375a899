import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { forwardFlops } from '../src/models/network-definition.js';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';

/** Specialists with wider dense layers than the generalist's, through every stage that comes after them. */
let folder: string;
beforeAll(async () => {
  folder = await copyOfTiny();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const configOf = async (artefact: string) =>
  JSON.parse(await readFile(join(folder, 'kd-workspace', artefact, 'config.json'), 'utf8'));

test('a wider specialist is trained, fused and reported, and its cost is that of its own width', async () => {
  const { dense } = (await configOf('generalist')).network;
  const wider = dense.map((units: number) => 2 * units);
  const asked = ['run', 'tiny.yaml', '--specialist-dense', wider.join(), '--no-select', '--json'];
  const { stages } = jsonOf(await kdSpec(asked, { folder }));
  expect(stages.subsets.status).toBe('up-to-date');
  expect(stages.specialists.status).toBe('made');

  const { network } = await configOf('specialists/0');
  expect(network.dense).toEqual(wider);
  const { inference } = jsonOf(await kdSpec(['evaluate', '--json'], { folder }));
  expect(inference.active).toBeGreaterThan(0);
  const specialist = forwardFlops(network, { from: 'dense' });
  const added = inference.ensembleFlops - inference.generalistFlops;
  expect(added / inference.active / specialist).toBeCloseTo(1, 1); // subsets differ by a few classes
});

test.each([
  [['--specialist-dense', '8'], /none below the generalist's/],
  [['--specialist-dense', '500,500'], /expected 1 widths/],
  [['--specialist-dense', '500', '--retrain', 'head'], /leave one of the two at its default/],
])('widths that do not fit are refused: %s', async (words, message) => {
  const { code, stderr } = await kdSpec(['train-specialists', ...words], { folder });
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
});
