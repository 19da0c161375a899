import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Int64, makeData, tableFromIPC, tableToIPC } from 'apache-arrow';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Operations } from '../src/compute/operations.js';
import { readManifest } from '../src/core/artefact.js';
import { KdSpecError } from '../src/core/errors.js';
import type { JsonValue } from '../src/core/json.js';
import { createShardWriter } from '../src/data/arrow-shard-writer.js';
import { openDataset } from '../src/data/dataset.js';
import { examples } from '../src/data/examples.js';
import { countLabels } from '../src/data/label-counts.js';
import { readPredictions } from '../src/data/predictions.js';
import { readEnsembleFile } from '../src/ensemble/ensemble-file.js';
import { loadSpecialist } from '../src/ensemble/specialist/specialist.js';
import { readSubsets } from '../src/ensemble/subsets/subsets-file.js';
import { loadGeneralist } from '../src/models/checkpoint.js';
import { networkValues } from '../src/models/network.js';
import { type HostTensor, readSafetensors } from '../src/models/safetensors.js';
import { readPipelineFile } from '../src/pipeline/pipeline-file.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';
import { operationsOn } from './support/operations.js';

/**
 * Readers of files that people edit and disks damage: what was changed at random is read, or refused by a KdSpecError
 * that names the file; nothing else is ever thrown.
 */
let folder: string;
let operations: Operations;
let generalist: ReadonlyMap<string, HostTensor>;
let classes: number;
const place = (...parts: string[]) => join(folder, 'kd-workspace', ...parts);

beforeAll(async () => {
  folder = await copyOfTiny();
  operations = await operationsOn('cpu');
  const network = await loadGeneralist(place('generalist'), operations);
  generalist = await networkValues(network);
  classes = network.definition.outputs;
  network.dispose();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A place in a file, as a share of its length; evenly, since a double would be drawn near 0. */
const share = fc.nat(1e6).map((value) => value / (1e6 + 1));

/** A change of a file's bytes: some are cut out at a place, and others put there. */
const byteEdit = fc.record({
  at: share,
  /** Whether `at` is a share of the first bytes alone, where headers stand. */
  isAtStart: fc.boolean(),
  cut: fc.oneof(fc.constant(0), fc.nat(8), fc.nat(4096), fc.constant(Number.POSITIVE_INFINITY)),
  put: fc.oneof(fc.constant(new Uint8Array(0)), fc.uint8Array({ maxLength: 9 })),
});
const startBytes = 2048;
type ByteEdit = typeof byteEdit extends fc.Arbitrary<infer Edit> ? Edit : never;

function editBytes(bytes: Uint8Array, { at, isAtStart, cut, put }: ByteEdit): Buffer {
  const start = Math.floor(at * (isAtStart ? Math.min(startBytes, bytes.length) : bytes.length));
  return Buffer.concat([bytes.subarray(0, start), put, bytes.subarray(Math.min(start + cut, bytes.length))]);
}

/** A change of a JSON value: one of the values in it becomes another, or vanishes. */
const valueEdit = fc.record({
  at: share,
  value: fc.oneof(
    fc.constantFrom<JsonValue | undefined>(
      undefined,
      null,
      -1,
      0.5,
      0,
      7,
      2 ** 40,
      1e308,
      '',
      '../x',
      true,
      [],
      {},
    ),
    fc.constantFrom<JsonValue>([0, 0], { id: 0 }, 'x'.repeat(70), 'é', [[]]),
  ),
});
type ValueEdit = typeof valueEdit extends fc.Arbitrary<infer Edit> ? Edit : never;

function editValue(text: string, { at, value }: ValueEdit): string {
  const places = [
    ...text.matchAll(/(?<=[:[,]\s*)("(?:[^"\\]|\\.)*"|-?\d[\d.e+-]*|true|false|null|\{\}|\[\])/g),
  ];
  const chosen = places[Math.min(places.length - 1, Math.floor(at * places.length))];
  const replacement = value === undefined ? '' : JSON.stringify(value);
  return text.slice(0, chosen.index) + replacement + text.slice(chosen.index + chosen[0].length);
}

/** Changes a file many times over, and reads it each time. */
async function expectCare(
  path: string,
  read: () => Promise<unknown>,
  { isText, runs }: { isText: boolean; runs: number },
): Promise<void> {
  const sound = await readFile(path);
  await read();
  // The change is drawn, not the changed file: a counterexample is to be readable.
  const edit = fc.oneof(byteEdit, ...(isText ? [valueEdit] : []));
  const apply = (change: ByteEdit | ValueEdit) =>
    'value' in change ? Buffer.from(editValue(sound.toString('utf8'), change)) : editBytes(sound, change);
  let refused = 0;
  try {
    await fc.assert(
      fc.asyncProperty(edit, async (change) => {
        await writeFile(path, apply(change));
        try {
          await read();
        } catch (error) {
          if (!(error instanceof KdSpecError)) throw error;
          expect(error.message.length).toBeGreaterThan(20);
          refused++;
        }
      }),
      { numRuns: runs, seed: 20_150_309 },
    );
  } finally {
    await writeFile(path, sound);
  }
  expect(refused).toBeGreaterThan(runs / 10);
}

describe('damage at random', () => {
  const text = { isText: true, runs: 100 };
  const binary = { isText: false, runs: 100 };

  test('of a manifest', () =>
    expectCare(place('subsets', 'manifest.json'), () => readManifest(place('subsets')), text));

  test('of subsets.json', () => {
    const path = place('subsets', 'subsets.json');
    return expectCare(path, () => readSubsets(path), text);
  });

  test('of ensemble.json', () =>
    expectCare(place('ensemble', 'ensemble.json'), () => readEnsembleFile(place('ensemble')), text));

  test("of the generalist's config.json", () =>
    expectCare(
      place('generalist', 'config.json'),
      async () => (await loadGeneralist(place('generalist'), operations)).dispose(),
      text,
    ));

  test("of a specialist's config.json", () =>
    expectCare(
      place('specialists', '0', 'config.json'),
      () => loadSpecialist(place('specialists', '0'), generalist, classes),
      text,
    ));

  test('of a description of a data set', () =>
    expectCare(place('dataset', 'kd-spec.json'), () => openDataset(place('dataset')), text));

  test('of a safetensors file', () => {
    const path = place('specialists', '0', 'model.safetensors');
    return expectCare(path, () => loadSpecialist(place('specialists', '0'), generalist, classes), binary);
  });

  test('of the header of a safetensors file', async () => {
    const path = join(folder, 'header.safetensors');
    const model = await readFile(place('specialists', '0', 'model.safetensors'));
    await writeFile(path, model.subarray(0, 8 + Number(model.readBigUInt64LE(0)) + 64));
    await writeFile(path, model);
    return expectCare(path, () => readSafetensors(path), { isText: true, runs: 100 });
  });

  test('of Arrow predictions', async () => {
    const path = place('predictions', 'data-00000-of-00001.arrow');
    const read = async () => {
      let rows = 0;
      for await (const { probabilities } of (await readPredictions(path)).rows()) rows += probabilities.rows;
      return rows;
    };
    await expectCare(path, read, binary);
  });

  test('of Arrow predictions in the file format', async () => {
    const path = join(folder, 'rows.arrow');
    const table = tableFromIPC(await readFile(place('predictions', 'data-00000-of-00001.arrow')));
    await writeFile(path, tableToIPC(table.slice(0, 20), 'file'));
    await expectCare(
      path,
      async () => {
        for await (const _ of (await readPredictions(path)).rows());
      },
      binary,
    );
  });

  test('of the shards of a data set', async () => {
    const { splits } = await openDataset(place('dataset'));
    const [{ path }] = splits.validation.shards;
    await expectCare(
      path,
      async () => {
        for await (const _ of examples(splits.validation, { shuffleSeed: [1] }));
      },
      binary,
    );
  });

  test('of a pipeline file', () => {
    const path = join(folder, 'tiny.yaml');
    return expectCare(path, () => readPipelineFile(path), text);
  });
});

test.each([-1, 60, 2 ** 31, 2 ** 40])(
  'a label of %d among 60 classes is named with its shard and row',
  async (label) => {
    const { splits } = await openDataset(place('dataset'));
    const directory = await mkdtemp(join(tmpdir(), 'kd-spec-labels-'));
    try {
      const [shard] = splits.validation.shards;
      const table = tableFromIPC(await readFile(shard.path));
      const writer = await createShardWriter(directory, table.schema);
      let firstRow = 0;
      for (const { data, numRows } of table.batches) {
        const labels = BigInt64Array.from(data.children[1].values);
        if (firstRow === 0) labels[5] = BigInt(label);
        const labelData = makeData({ type: new Int64(), length: numRows, data: labels });
        await writer.write([data.children[0], labelData]);
        firstRow += numRows;
      }
      const [record] = await writer.close();
      const split = { ...splits.validation, shards: [{ ...shard, path: join(directory, record.file) }] };
      const error = {
        code: 'dataset-invalid',
        message: expect.stringMatching(/label from 0 to 59 in row 5, found/),
      };
      await expect(countLabels(split, 60)).rejects.toMatchObject(error);
      const read = async () => {
        for await (const _ of examples(split, { shuffleSeed: [1], keep: (value) => value === 3 }));
      };
      await expect(read()).rejects.toMatchObject(error);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
);
