import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPredictionWriter } from '../data/predictions.js';
import { createCsrBuilder } from '../math/csr.js';
import { openTeachers } from './teachers.js';

const classes = ['ash', 'elm', 'fir', 'oak', 'yew'];
const labels = Int32Array.from({ length: 60 }, (_, row) => row % classes.length);
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-teachers-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Stored predictions: row r gives 0.9 to class `first(r)`. */
async function store(
  name: string,
  first: (row: number) => number,
  more: { readonly names?: readonly string[]; readonly labels?: Int32Array } = {},
): Promise<string> {
  const path = join(folder, name);
  const writer = createPredictionWriter(path, {
    classes: classes.length,
    ...(more.names && { names: more.names }),
  });
  const builder = createCsrBuilder(classes.length);
  for (const row of labels.keys()) builder.addRow([first(row)], [0.9], 1);
  await writer.write({ probabilities: builder.finish(), labels: more.labels });
  await writer.close();
  return path;
}

async function open(path: string) {
  const notes: string[] = [];
  const warnings: string[] = [];
  const teacher = await openTeachers([path], 'arithmetic', {
    workspace: folder,
    backend: 'wasm',
    classes,
    image: { height: 8, width: 8, channels: 1 },
    transferRows: labels.length,
    transferLabels: async () => labels,
    note: (text) => notes.push(text),
    warn: (text) => warnings.push(text),
  });
  const probabilities = await teacher.probabilities({
    images: new Float32Array(),
    count: 1,
    rows: Int32Array.of(1),
  });
  return { notes, warnings, probabilities: [...probabilities] };
}

test('stored predictions that agree with the labels pass without a word', async () => {
  const { notes, warnings, probabilities } = await open(
    await store('right', (row) => labels[row], { labels }),
  );
  expect({ notes, warnings }).toEqual({ notes: [], warnings: [] });
  expect(probabilities[1]).toBeCloseTo(0.9, 6);
});

test('those that are right no more often than by chance are a warning that tells what to check', async () => {
  const next = (row: number) => (labels[row] + 1) % classes.length;
  const { warnings } = await open(await store('rotated', next));
  expect(warnings).toEqual([
    expect.stringMatching(
      /gets 0 of 60 labelled images right, as many as by chance: .*dataset\/classes\.txt/,
    ),
  ]);
  // A teacher that is bad, but not that bad, is nobody's business.
  const often = (row: number) => (row % 2 === 0 ? labels[row] : next(row));
  expect((await open(await store('half', often))).warnings).toEqual([]);
});

test('names in the metadata bring the classes into the order of the data set', async () => {
  const names = classes.toReversed();
  const reversed = (row: number) => classes.length - 1 - labels[row];
  const its = labels.map((label) => classes.length - 1 - label);
  const { notes, warnings, probabilities } = await open(
    await store('reversed', reversed, { names, labels: its }),
  );
  expect(warnings).toEqual([]);
  expect(notes).toEqual([expect.stringContaining('another order: matched by name')]);
  expect(probabilities[1]).toBeCloseTo(0.9, 6);
  const strangers = classes.with(2, 'palm');
  await expect(open(await store('strangers', reversed, { names: strangers }))).rejects.toMatchObject({
    code: 'option-invalid',
    message: expect.stringContaining('does not know the class "fir"'),
  });
});

test('labels beside the predictions that are those of other rows are refused; a few corrected ones are said', async () => {
  const shuffled = labels.toReversed();
  await expect(
    open(await store('order', (row) => shuffled[row], { labels: shuffled })),
  ).rejects.toMatchObject({
    code: 'predictions-invalid',
    message: expect.stringMatching(
      /48 of 60 labels are not those of the images: row 0 has the label 4, image 0 of the set 0; expected row r/,
    ),
  });
  const corrected = labels.with(3, 0);
  const { warnings } = await open(await store('corrected', (row) => labels[row], { labels: corrected }));
  expect(warnings).toEqual([expect.stringMatching(/1 of 60 labels .* Were they changed since\?/)]);
});
