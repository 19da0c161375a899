import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { schemaFiles } from '../scripts/schemas.js';
import { packageFolder } from '../src/core/package.js';
import { decodeImage } from '../src/data/image-codec.js';
import { jsonOf, kdSpec, kdSpecProcess } from './fixtures/command-line.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';
import { colourModel, writePictures } from './support/colour-model.js';

const published = join(packageFolder(), 'docs', 'schemas');
const readSchema = async (command: string) =>
  JSON.parse(await readFile(join(published, `${command}.json`), 'utf8'));

test('docs/schemas holds the schema of every output: npm run schemas', async () => {
  const files = schemaFiles();
  expect((await readdir(published)).sort()).toEqual([...files.keys()].map((name) => `${name}.json`).sort());
  for (const [command, schema] of files) expect(await readSchema(command)).toEqual(schema);
});

describe('what is printed with --json fits the published schema', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await copyOfTiny();
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** The output as the published schema reads it; that allows no property that it does not name. */
  async function checked(command: string, ...words: readonly string[]) {
    const output = jsonOf(await kdSpec([...words, '--json'], { folder }));
    expect(z.fromJSONSchema(await readSchema(command)).parse(output)).toEqual(output);
    return output;
  }

  test.each([
    'run',
    'dataset',
    'train-generalist',
    'predict',
    'cluster',
    'train-specialists',
    'calibrate',
    'doctor',
  ])('%s', async (command) => {
    await checked(command, command);
  });

  test('init, with a model to improve and without', async () => {
    await writeFile(join(folder, 'model.onnx'), colourModel());
    await writePictures(join(folder, 'pictures'), ['red', 'green'], { perLabel: 8 });
    const words = ['init', '--source', 'pictures', '--force'];
    expect(await checked('init', ...words)).toMatchObject({ model: null });
    const { model } = await checked('init', ...words, '--onnx', 'model.onnx');
    expect(model).toMatchObject({ classes: 6, unknown: [], hints: {} });
  });

  test('evaluate, and infer for the image of the report', async () => {
    const { example, split, specialists } = await checked('evaluate', 'evaluate');
    expect({ split, specialists: specialists.length > 0 }).toEqual({ split: 'test', specialists: true });
    const file = Buffer.from(example.image.png.split(',')[1], 'base64');
    expect(await decodeImage(file, example.image)).toHaveLength(example.image.height * example.image.width);

    const output = jsonOf(await kdSpecProcess(['infer', '-', '--json'], { folder, input: file }));
    expect(z.fromJSONSchema(await readSchema('infer')).parse(output)).toEqual(output);
    const [answer] = output.images;
    const classes = (ranked: readonly { index: number }[]) => ranked.map(({ index }) => index);
    expect(classes(answer.generalist)).toEqual(classes(example.generalist));
    expect(classes(answer.ensemble)).toEqual(classes(example.ensemble));
    expect(answer.specialists.map(({ id }: { id: number }) => id)).toEqual(
      example.specialists.map(({ id }: { id: number }) => id),
    );
  });

  test('status, and what show shows', async () => {
    const { stages } = await checked('status');
    expect(stages.map(({ status }: { status: string }) => status)).not.toContain('missing');
    const { confused, specialists } = await checked('show', 'show');
    await checked('show', 'show', 'specialist', String(specialists[0].id));
    await checked('show', 'show', 'class', confused[0].classes[0]);
    await checked('show', 'show', 'subsets');
    const report = await checked('show', 'show', 'report');
    const file = join(folder, 'image.png');
    await writeFile(file, Buffer.from(report.metrics.example.image.png.split(',')[1], 'base64'));
    const image = await checked('show', 'show', 'image', file);
    expect(image.ensemble[0].index).toBe(report.metrics.example.ensemble[0].index);
  });

  test('jobs, and train-specialists that leaves them to a cluster', async () => {
    const elsewhere = await copyOfTiny({ without: ['specialists', 'ensemble', 'report'] });
    const outputs = [];
    for (const [schema, line] of [
      ['train-specialists', 'train-specialists --engine kubernetes'],
      ['jobs', 'jobs show'],
    ]) {
      const output = jsonOf(await kdSpec([...line.split(' '), '--json', '--quiet'], { folder: elsewhere }));
      expect(z.fromJSONSchema(await readSchema(schema)).parse(output)).toEqual(output);
      outputs.push(output);
    }
    await rm(elsewhere, { recursive: true });
    expect(outputs[0]).toEqual(outputs[1]);
    expect(outputs[0].counts).toEqual({ missing: outputs[0].jobs.length });
  });

  test('the plan of a dry run, and infer where images have no answer', async () => {
    await checked('plan', 'evaluate', '--epochs', '3', '--dry-run');
    const empty = await mkdtemp(join(tmpdir(), 'kd-spec-empty-'));
    const { code, stdout } = await kdSpec(['infer', empty, '--json'], { folder });
    await rm(empty, { recursive: true });
    const output = JSON.parse(stdout);
    expect(z.fromJSONSchema(await readSchema('infer')).parse(output)).toEqual(output);
    expect({ code, errors: output.errors.length }).toEqual({ code: 1, errors: 1 });
  });
});
