import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { jsonOf, kdSpec, schemaOf } from './fixtures/command-line.js';
import { type Colour, colourModel, colours, photograph } from './support/colours.js';

// A stranger's classifier of colours, with images of the four greenest rows only.
const classes = colours;
const pictured = classes.slice(0, 24);
const others = classes.slice(24);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-harm-'));
  await writeFile(join(folder, 'model.onnx'), colourModel());
  const draw = (place: string, one: Colour, images: number) => photograph(folder, place, one, images);
  for (const one of pictured) await draw(join('photos', one.name), one, 80);
  for (const one of others) await draw(join('others', one.name), one, 60);
  for (const one of [...others, ...pictured.slice(0, 2)]) await draw('loose', one, 12);
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

const given = ['--onnx', 'model.onnx', '--source', 'photos', '--channel-order', 'rgb'];
const artefact = async (workspace: string, path: string) =>
  JSON.parse(await readFile(join(folder, workspace, path), 'utf8'));
const labelsOfSubsets = async (workspace: string) => {
  const { subsets } = await artefact(workspace, 'subsets/subsets.json');
  return subsets.flatMap((subset: { readonly classes: readonly number[] }) => subset.classes);
};

test('specialists gain on classes with images, and bystanders lose no more than was allowed', async () => {
  const command = ['run', ...given, '--bystanders', 'others', '--clusters', '3', '--harm', '2%'];
  const short = ['--specialist-epochs', '6', '--json'];
  const output = jsonOf(await kdSpec([...command, ...short, '--workspace', 'labelled'], { folder }));
  const { metrics: dataset } = await artefact('labelled', 'dataset/manifest.json');
  expect(dataset.bystanders).toMatchObject({ teach: 180, bound: 180, test: 360, unlabelled: 0, classes: 12 });
  expect(dataset.train + dataset.validation + dataset.test).toBe(24 * 80);

  const ensemble = await artefact('labelled', 'ensemble/ensemble.json');
  for (const { rule, bystanders } of [ensemble, ...ensemble.others]) {
    expect(bystanders, rule).toMatchObject({ examples: 180, bound: 0.02 });
    expect(
      bystanders.harm + (bystanders.refused === undefined ? bystanders.standardError : 0),
    ).toBeLessThanOrEqual(0.02);
  }
  expect(ensemble.routingMass).toBe(1 / 32);

  const report = await artefact('labelled', 'report/report.json');
  expect(report.test.difference.top1).toBeGreaterThan(report.test.difference.top1StandardError);
  expect(report.bystanders).toMatchObject({ examples: 360, labelled: 360, bound: 0.02 });
  expect(report.bystanders.harm).toBeCloseTo(
    report.bystanders.generalist.top1 - report.bystanders.ensemble.top1,
    12,
  );
  // On other images of the same kind, so within the errors of both measurements.
  expect(report.bystanders.harm).toBeLessThan(0.02 + 3 * report.bystanders.standardError);
  expect((await schemaOf('run')).parse(output)).toEqual(output);

  const members = await labelsOfSubsets('labelled');
  expect(members.length).toBe(24);
  expect(Math.max(...members)).toBeLessThan(24);
});

test('the terminal and the page tell of the bystanders, and the exported file has the shift', async () => {
  const shown = await kdSpec(['evaluate', '--workspace', 'labelled'], { folder });
  expect(shown.stdout).toMatch(/Bystanders, 360 images of what no specialist learned/);
  expect(shown.stdout).toMatch(/Harm -?\d\.\d% ± \d\.\d, where at most 2% was allowed/);
  const page = await readFile(join(folder, 'labelled', 'report', 'index.html'), 'utf8');
  expect(page).toMatch(/Harm to bystanders/);
  expect(page).toMatch(/What more or less harm would bring/);
  const { bystanders } = await artefact('labelled', 'report/report.json');
  const gains = bystanders.tradeOff.map(({ top1Gain }: { readonly top1Gain: number }) => top1Gain);
  expect(gains[0]).toBeGreaterThan(0);
  expect(gains).toEqual(gains.toSorted((a: number, b: number) => a - b));
  const calibrated = await kdSpec(
    ['calibrate', '--rule', 'share-inside', '--harm', '5%', '--workspace', 'labelled', '--json'],
    { folder },
  );
  expect(jsonOf(calibrated)).toMatchObject({ rule: 'share-inside' });
  const { specialists } = await artefact('labelled', 'ensemble/ensemble.json');
  type Fitted = { readonly kept: boolean; readonly parameters: { readonly massShift: number } };
  const shifts = specialists.map(({ parameters }: Fitted) => parameters.massShift);
  expect(shifts.some((shift: number) => Math.abs(shift) > 0.05)).toBe(true);
  const exported = await kdSpec(['export', '--out', 'patched.onnx', '--workspace', 'labelled', '--json'], {
    folder,
  });
  expect(jsonOf(exported).maxDifference).toBeLessThan(1e-4);
});

test('the model computes features once for all stages; its exported form is evaluated alike', async () => {
  const store = join(folder, 'labelled', 'features');
  const files = await readdir(store);
  const [name, ...more] = files.filter((one) => !one.startsWith('first-classes-bystanders-test-'));
  expect(more).toEqual([]);
  expect(files.length).toBe(2);
  const before = await stat(join(store, name));
  expect(before.size).toBeGreaterThan(0);
  expect(before.size % (16 + 8 + 4 * 3)).toBe(0); // two hashes and three features an image
  const inOnnxRuntime = ['evaluate', '--runtime', 'onnx', '--workspace', 'labelled', '--json'];
  const { test: networks, inference: cost } = await artefact('labelled', 'report/report.json');
  const { test: exported, inference } = jsonOf(await kdSpec(inOnnxRuntime, { folder }));
  for (const one of ['generalist', 'ensemble'])
    expect(Math.abs(exported[one].top1 - networks[one].top1), one).toBeLessThan(2.5 / networks.examples);
  for (const one of ['active', 'generalistFlops', 'ensembleFlops'])
    expect(inference[one], one).toBe(cost[one]);
  for (const one of ['generalistImagesPerSecond', 'ensembleImagesPerSecond'])
    expect(inference[one], one).toBeGreaterThan(0);
  expect((await stat(join(store, name))).mtimeMs).toBe(before.mtimeMs);
});

test('bystanders that were changed after their import are told of', async () => {
  const run = async () =>
    jsonOf(await kdSpec(['run', ...given, '--workspace', 'labelled', '--dry-run', '--json'], { folder }));
  const warnings = async () => (await run()).warnings.filter((one: string) => /has changed/.test(one));
  expect(await warnings()).toEqual([]);
  const place = join(folder, 'others', others[0].name);
  const [some] = await readdir(place);
  const more = join(place, `more-${some}`);
  await cp(join(place, some), more);
  expect(await warnings()).toEqual([
    expect.stringMatching(/others has changed since it was imported \(720 files then, 721 files now\)/),
  ]);
  await rm(more);
});

test('a bound that no rule can be shown to keep leaves everything to the generalist, and says so', async () => {
  const { stderr } = await kdSpec(['calibrate', '--harm', '0.01%', '--workspace', 'labelled'], { folder });
  expect(stderr).toMatch(/rule share-inside.*predictions are left to the generalist/);
  const { specialists } = await artefact('labelled', 'ensemble/ensemble.json');
  expect(specialists.some(({ kept }: { readonly kept: boolean }) => kept)).toBe(false);
});

test('without bystanders a tenth of the classes is held out to play them', async () => {
  const { code, stderr } = await kdSpec(['import', ...given, '--workspace', 'held'], { folder });
  expect(code).toBe(0);
  expect(stderr).toMatch(/2 of the 24 classes with images are kept from the specialists/);
  expect(stderr).not.toMatch(/no validation image/); // of classes that are not learned
  const { metrics } = await artefact('held', 'dataset/manifest.json');
  expect(metrics.bystanders.heldOut).toHaveLength(2);
  expect(metrics.bystanders).toMatchObject({ teach: 72, bound: 72, test: 2 * 8, classes: 2 });
  expect(metrics.train).toBe(22 * 64);
  await kdSpec(['cluster', '--clusters', '3', '--workspace', 'held'], { folder });
  const names = (await labelsOfSubsets('held')).map((label: number) => classes[label].name);
  expect(names).toHaveLength(22);
  for (const name of metrics.bystanders.heldOut) expect(names).not.toContain(name);
});

test('images without labels count by agreement, and one specialist may have all classes with images', async () => {
  const one = ['train-specialists', ...given, '--bystanders', 'others', '--clusters', '1'];
  const trained = await kdSpec([...one, '--specialist-epochs', '1', '--workspace', 'one'], { folder });
  expect(trained.code).toBe(0);
  const loose = ['run', ...given, '--bystanders', 'loose', '--clusters', '3', '--specialist-epochs', '1'];
  expect((await kdSpec([...loose, '--harm', '5%', '--workspace', 'loose-kd'], { folder })).code).toBe(0);
  const { bystanders } = await artefact('loose-kd', 'report/report.json');
  expect(bystanders).toMatchObject({ examples: 84, labelled: 0 });
  expect(bystanders.harm).toBeCloseTo(1 - bystanders.agreement, 12);
});

test('given subsets lose the classes that have no images', async () => {
  const subsets = [
    { id: 0, classes: [0, 1, 2, 30] },
    { id: 1, classes: [6, 7, 8, 31, 32] },
  ];
  await writeFile(join(folder, 'subsets.json'), JSON.stringify({ classes: classes.length, subsets }));
  const { code, stderr } = await kdSpec(
    [
      'train-specialists',
      ...given,
      '--hold-out',
      '0',
      '--subsets',
      'subsets.json',
      '--specialist-epochs',
      '1',
      '--workspace',
      'given',
    ],
    { folder },
  );
  expect(code).toBe(0);
  expect(stderr).toMatch(/3 classes of the subsets have no training image, such as red 0 green 5/);
  expect(await readdir(join(folder, 'given', 'specialists'))).toContain('1');
  expect((await artefact('given', 'specialists/1/config.json')).classes).toEqual([6, 7, 8]);
});

test('a specialist for all classes with images, without labelled images of others, has a dustbin that no rule may use', async () => {
  const one = ['run', ...given, '--clusters', '1', '--specialist-epochs', '1'];
  const loose = [...one, '--bystanders', 'loose', '--workspace', 'all'];
  const refused = await kdSpec([...loose, '--rule', 'combine'], { folder });
  expect(refused.code).toBe(2);
  expect(refused.stderr).toMatch(
    /--rule combine uses .* subset 0 holds all 1,536 training examples: give --rule share-inside/,
  );
  expect(refused.stderr).not.toMatch(/features of the training images/);
  const { code, stderr } = await kdSpec(loose, { folder });
  expect(code).toBe(0);
  expect(stderr).toMatch(/rule share-inside: it uses no dustbins, and specialist 0 had no labelled examples/);
  const { bystanders } = await artefact('all', 'report/report.json');
  expect(bystanders).toMatchObject({ examples: 84, labelled: 0 });
  const { dustbin } = await artefact('all', 'specialists/0/config.json');
  expect(dustbin).toMatchObject({ otherExamples: 0, correction: 0 });

  const alone = [...one, '--hold-out', '0', '--specialist-head', 'dustbin', '--workspace', 'alone'];
  expect((await kdSpec(alone, { folder })).code).toBe(0);
  expect(await artefact('alone', 'ensemble/ensemble.json')).toMatchObject({ rule: 'share-inside' });
});

test.each([
  [['--bystanders', 'photos'], /every class of Images of the folder photos has training images/],
  [['--bystanders', 'nowhere'], /^(?!.*write train).*--bystanders: .*nowhere is neither/s], // before images are read
  [['--bystanders', 'others', '--hold-out', '0.2'], /--hold-out would do nothing: --bystanders gives/],
  [['--harm', '2'], /--harm: expected a share from 0 to 1, or in per cent, as in 0\.5%/],
])('what cannot be bystanders is refused: %s', async (words, message) => {
  const { code, stderr } = await kdSpec(['run', ...given, ...words, '--workspace', 'refused'], { folder });
  expect(code).not.toBe(0);
  expect(stderr).toMatch(message);
});
