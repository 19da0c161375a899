import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openDataset } from '../../src/data/dataset.js';
import { kdSpec } from '../fixtures/command-line.js';
import { tinyCopies } from '../fixtures/tiny-workspace.js';

const copy = tinyCopies();

test('what has no form as a graph is refused, and nothing is written', async () => {
  const folder = await copy();
  const { classes } = await openDataset(join(folder, 'kd-workspace', 'dataset'));
  const size = String(Math.ceil(classes.length / 2));
  const overlapping = ['--clusters', 'none', '--specialists', '3', '--size', size];
  await kdSpec(['calibrate', '--rule', 'paper', '--no-select', ...overlapping], { folder });
  const { code, stderr } = await kdSpec(['export', '--out', 'overlapping.onnx'], { folder });
  expect(stderr).toMatch(/share no class.*--rule combine/);
  expect(code).toBe(2);
  expect(existsSync(join(folder, 'overlapping.onnx'))).toBe(false);
});
