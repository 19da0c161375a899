import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadEnsemble } from '../src/ensemble/load-ensemble.js';
import { jsonOf, kdSpec } from './fixtures/command-line.js';
import { colourModel, size, writePictures } from './support/colour-model.js';

// A model that takes red for orange, and looks at the left half of pictures that are twice as wide as high.
const favours = { orange: 6 };
const quick = [
  '--specialist-epochs',
  '12',
  '--min-size',
  '2',
  '--clusters',
  '1',
  '--views',
  '2',
  '--strength',
  '0',
];
const oblong = { height: size, width: 2 * size, channels: 3 };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-oblong-'));
  await writeFile(join(folder, 'fixed.onnx'), colourModel({ favours, isOblong: true }));
  await writeFile(join(folder, 'free.onnx'), colourModel({ favours, isOblong: true, isFree: true }));
  await writePictures(join(folder, 'photos'), ['red', 'orange', 'green'], { perLabel: 60, isOblong: true });
  await writePictures(join(folder, 'others'), ['blue', 'white'], { perLabel: 40, isOblong: true });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test.each([
  ['fixed.onnx', []],
  ['free.onnx', ['--image-size', `${size}x${2 * size}`]],
])('%s is patched, and its file classifies oblong pictures', async (model, more) => {
  const out = `patched-${model}`;
  const words = ['--images', 'photos', '--bystanders', 'others', '--harm', '0.2', '--with-rivals=false'];
  const given = [model, ...words, ...quick, ...more, '--out', out, '--workspace', `of-${model}`, '--json'];
  const output = jsonOf(await kdSpec(['patch', ...given], { folder }));
  expect(output.before.top1).toBeGreaterThan(0.5); // with the sides exchanged it would see any colour
  expect(output.after.top1).toBeGreaterThan(output.before.top1 + 0.1);
  const ensemble = await loadEnsemble(join(folder, out));
  expect(ensemble.input).toMatchObject({ image: oblong });
  const [green] = await ensemble.classify([join(folder, 'photos', 'green', '3.png')]);
  expect(green.ensemble[0].class).toBe('green');
  ensemble.dispose();
});

test('the sides of a model are not exchanged, and the folder for a hub says them', async () => {
  const words = ['patch', 'fixed.onnx', '--images', 'photos', '--out', 'x.onnx', '--workspace', 'x'];
  const turned = await kdSpec([...words, '--image-size', `${2 * size}x${size}`], { folder });
  expect(turned.stderr).toMatch(/takes images of a height of 12, not 24 \(--image-size\)/);
  const exported = ['export', '--format', 'hf', '--out', 'hub', '--workspace', 'of-fixed.onnx'];
  expect((await kdSpec(exported, { folder })).code).toBe(0);
  const feed = JSON.parse(await readFile(join(folder, 'hub', 'preprocessor_config.json'), 'utf8'));
  expect(feed).toMatchObject({ size: { height: size, width: 2 * size }, do_center_crop: false });
  const card = await readFile(join(folder, 'hub', 'README.md'), 'utf8'); // of a model whose metadata name its licence
  expect(card).toMatch(/^license: "cc-by-4.0"$/m);
  expect(card).toContain('cc-by-4.0, as the metadata of the original model say.');
});

test("images of a size of their own that are not the model's are refused before anything is written", async () => {
  const words = [
    'dataset',
    '--source',
    'jft-like',
    '--classes',
    '20',
    '--onnx',
    'fixed.onnx',
    '--image-size',
    'none',
  ];
  const { code, stderr } = await kdSpec([...words, '--workspace', 'unlike'], { folder });
  expect(code).toBe(1);
  expect(stderr).toMatch(/takes images of 12 x 24 x 3, the data set has 12 x 12 x 1/);
});

test('init writes the size that it is given', async () => {
  const words = ['init', '--source', 'photos', '--image-size', '12x24', '--out', 'init.yaml'];
  expect((await kdSpec(words, { folder })).code).toBe(0);
  expect(await readFile(join(folder, 'init.yaml'), 'utf8')).toMatch(/imageSize: 12x24 +# as given to init/);
});

test('a generalist of our own learns oblong images, too, and a data set that is made has squares', async () => {
  const own = ['--source', 'photos', '--image-size', '12x24', '--epochs', '5', '--workspace', 'own'];
  expect((await kdSpec(['train-generalist', ...own], { folder })).code).toBe(0);
  const log = await readFile(join(folder, 'own', 'generalist', 'metrics.jsonl'), 'utf8');
  const epochs = log.trim().split('\n');
  const last = JSON.parse(epochs[epochs.length - 1]);
  expect(last.validationTop1).toBeGreaterThan(0.6);
  const made = ['dataset', '--source', 'jft-like', '--classes', '20', '--image-size', '12x24'];
  const { code, stderr } = await kdSpec([...made, '--workspace', 'made'], { folder });
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/the jft-like data set has square images: give one number/);
});
