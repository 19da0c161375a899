import { readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { imageBatches } from '../src/data/batches.js';
import { type Dataset, openDataset } from '../src/data/dataset.js';
import { examples } from '../src/data/examples.js';
import { createFeatureWriter, readFeatures } from '../src/data/feature-shards.js';
import { huggingFaceSource } from '../src/data/importers/hugging-face.js';
import { readPredictions } from '../src/data/predictions.js';
import { endless, mixStreams } from '../src/ensemble/specialist/examples.js';
import { copyOfTiny } from './fixtures/tiny-workspace.js';

/**
 * A stream that is abandoned in the middle, by its reader or by an error, closes its files. What is left open is
 * closed when it is collected as garbage, with a warning of Node's in the middle of somebody's output.
 */
describe.skipIf(process.platform !== 'linux')('no file stays open', () => {
  let folder: string;
  let dataset: Dataset;
  const place = (...parts: string[]) => join(folder, 'kd-workspace', ...parts);
  beforeAll(async () => {
    folder = await copyOfTiny();
    dataset = await openDataset(place('dataset'));
    const writer = await createFeatureWriter(place('features'), { width: 3 });
    for (let batch = 0; batch < 4; batch++) {
      await writer.write({ features: new Float32Array(3 * 300), labels: new Int32Array(300) });
    }
    await writer.close();
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** The files of this process under the folder. */
  async function openFiles(): Promise<string[]> {
    const links = await Promise.all(
      (await readdir('/proc/self/fd')).map((fd) => readlink(join('/proc/self/fd', fd)).catch(() => '')),
    );
    return links.filter((path) => path.startsWith(folder));
  }

  const shuffleSeed = ['open files'];
  const train = () => dataset.splits.train;
  const streams: Readonly<Record<string, () => AsyncIterable<unknown> | Promise<AsyncIterable<unknown>>>> = {
    examples: () => examples(train(), { shuffleSeed, bufferRows: 300 }),
    'batches of images': () => imageBatches(train(), dataset.image, { batchSize: 16, bufferRows: 300 }),
    features: async () =>
      (await readFeatures(place('features'))).batches({ batchSize: 8, bufferRows: 300, shuffleSeed }),
    predictions: async () => (await readPredictions(place('predictions'))).rows(),
    'a Hugging Face data set': async () =>
      (await huggingFaceSource(place('dataset'), { imageSize: 16, seed: 1 })).images('train'),
    'two endless streams, mixed': () => {
      const pass = (index: number, skip: number) =>
        examples(train(), { shuffleSeed: [index], skip, bufferRows: 300 });
      return mixStreams(endless(pass, train().rows, 5), endless(pass, train().rows, 0), {
        specialPerBatch: 2,
        batchSize: 4,
        total: 10_000,
      });
    },
  };

  describe.each(Object.keys(streams))('of %s', (name) => {
    test('when the reader turns away', async () => {
      let taken = 0;
      for await (const _ of await streams[name]()) {
        if (taken === 0) expect(await openFiles()).not.toEqual([]);
        if (++taken === 3 || name === 'predictions') break;
      }
      expect(await openFiles()).toEqual([]);
    });

    test('when the reader throws', async () => {
      const read = async () => {
        for await (const _ of await streams[name]()) throw new Error('no more');
      };
      await expect(read()).rejects.toThrow('no more');
      expect(await openFiles()).toEqual([]);
    });
  });

  test('of a damaged shard', async () => {
    const [{ path, bytes }] = train().shards;
    await writeFile(path, new Uint8Array(bytes));
    for (const name of ['examples', 'batches of images', 'two endless streams, mixed']) {
      const read = async () => {
        for await (const _ of await streams[name]());
      };
      await expect(read(), name).rejects.toMatchObject({ code: expect.stringMatching(/^shard-/) });
      expect(await openFiles()).toEqual([]);
    }
  });
});
