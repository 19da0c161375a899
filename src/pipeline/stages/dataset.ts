import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import type { JsonObject } from '../../core/json.js';
import type { Log } from '../../core/log.js';
import { hanSource } from '../../data/han/han-source.js';
import { huggingFaceSource } from '../../data/importers/hugging-face.js';
import { hasIdxFiles, idxSource } from '../../data/importers/idx.js';
import { imageFolderSource } from '../../data/importers/image-folder.js';
import { jftLikeSource } from '../../data/jft-like/jft-like-source.js';
import type { DatasetSource } from '../../data/source.js';
import { speechSource } from '../../data/speech/speech-source.js';
import { writeDataset } from '../../data/write-dataset.js';
import type { Settings } from '../options.js';
import type { StageContext } from '../stage.js';

const defaultImageSize = 32; // of imported pictures, in pixels

/** Imports or generates the data set and writes it as Arrow shards. */
export async function makeDataset({ settings, directory, log, signal }: StageContext): Promise<JsonObject> {
  const source = await openSource(settings, log);
  await rm(directory, { recursive: true, force: true }); // shards of an interrupted run: writing starts afresh
  const { splits, classes } = await writeDataset(directory, source, {
    shardBytes: settings.dataset.shardMegabytes * 2 ** 20,
    log,
    signal,
  });
  const { train, validation, test } = splits;
  return {
    description: source.description,
    classes,
    train: train.rows,
    validation: validation.rows,
    test: test.rows,
    shards: train.shards + validation.shards + test.shards,
    bytes: train.bytes + validation.bytes + test.bytes,
  };
}

async function openSource({ dataset, seed }: Settings, log: Log): Promise<DatasetSource> {
  const { source, imageSize, validationFraction, testFraction, channels } = dataset;
  if (source === 'jft-like') {
    return jftLikeSource({
      seed,
      log,
      ...withoutNull({
        classes: dataset.classes,
        imagesPerClass: dataset.imagesPerClass,
        imageSize,
        labelNoise: dataset.labelNoise,
      }),
    });
  }
  if (source === 'han') {
    return hanSource({
      classes: required(dataset.classes, 'classes'),
      imageSize: required(imageSize, 'image-size'),
      fonts: required(dataset.fonts, 'fonts'),
      minimumDesigns: required(dataset.minimumDesigns, 'minimum-designs'),
      validationDesigns: required(dataset.validationDesigns, 'validation-designs'),
      testDesigns: required(dataset.testDesigns, 'test-designs'),
      seed,
      log,
      ...withoutNull({
        codePoints: dataset.codePoints,
        copies: dataset.copies,
        strength: dataset.strength,
      }),
    });
  }
  if (source === 'speech') {
    return speechSource({
      seed,
      log,
      ...withoutNull({ classes: dataset.classes, sentences: dataset.sentences }),
    });
  }
  const fractions = { validationFraction, testFraction };
  const pictures = {
    imageSize: imageSize ?? defaultImageSize,
    ...fractions,
    ...withoutNull({ channels }),
    seed,
  };
  await expectFolder(source);
  if ((await exists(join(source, 'dataset_dict.json'))) || (await exists(join(source, 'state.json')))) {
    return huggingFaceSource(source, pictures);
  }
  if (await hasIdxFiles(source)) return idxSource(source, { validationFraction, seed });
  return imageFolderSource(source, pictures);
}

function required<Value>(value: Value | null, flag: string): Value {
  if (value !== null) return value;
  throw new KdSpecError('option-invalid', `the han data set needs a value for --${flag}`);
}

/** Options that were not set are left to the default of the function that takes them. */
function withoutNull<Values extends object>(
  values: Values,
): { [Key in keyof Values]?: NonNullable<Values[Key]> } {
  const set = Object.entries(values).filter(([, value]) => value !== null);
  return Object.fromEntries(set) as { [Key in keyof Values]?: NonNullable<Values[Key]> };
}

async function expectFolder(source: string): Promise<void> {
  const info = await stat(source).catch(() => undefined);
  if (info?.isDirectory()) return;
  throw new KdSpecError(
    'not-found',
    `${source} is neither a known data set (jft-like, han, speech) nor a folder: give the folder of your images, ` +
      'of IDX files, or of a Hugging Face data set',
  );
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
