import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Binary, Field, FixedSizeList, Float32, Int64, Schema, Struct, Utf8 } from 'apache-arrow';
import type { ShardRecord } from './arrow-shard-writer.js';
import { type DatasetSource, type SplitName, splitNames } from './source.js';

/**
 * The files beside the Arrow shards that Python's `datasets.load_from_disk` reads.
 *
 * Source: huggingface/datasets 5.2, `Dataset.save_to_disk`, `DatasetDict.save_to_disk`, `ArrowWriter`.
 */

/** Struct type in which Hugging Face's Image feature is stored. */
export const imageType = new Struct([
  new Field('bytes', new Binary(), true),
  new Field('path', new Utf8(), true),
]);

/** The features of our data sets, as `datasets` writes them down. */
function features(classes: readonly string[]) {
  return { image: { _type: 'Image' }, label: { names: classes, _type: 'ClassLabel' } };
}

/** The type of a row of features. */
export function featureType(width: number): FixedSizeList<Float32> {
  return new FixedSizeList(width, new Field('item', new Float32(), true));
}

function featuresOfRows(classes: readonly string[], width: number) {
  const numbers = { feature: { dtype: 'float32', _type: 'Value' }, length: width, _type: 'Sequence' };
  return { features: numbers, label: { names: classes, _type: 'ClassLabel' } };
}

/** Columns `features` and `label`, with the metadata from which `datasets` knows their features. */
export function featureSchema(classes: readonly string[], width: number): Schema {
  const info = { info: { features: featuresOfRows(classes, width) } };
  const metadata = new Map([['huggingface', JSON.stringify(info)]]);
  const fields = [new Field('features', featureType(width), true), new Field('label', new Int64(), true)];
  return new Schema(fields, metadata);
}

/** Columns `image` and `label`, with the metadata from which `datasets` knows their features. */
export function imageSchema(classes: readonly string[]): Schema {
  const metadata = new Map([['huggingface', JSON.stringify({ info: { features: features(classes) } })]]);
  return new Schema([new Field('image', imageType, true), new Field('label', new Int64(), true)], metadata);
}

/** Writes `dataset_dict.json` of a folder of splits. */
export async function writeDatasetDict(directory: string): Promise<void> {
  await writeJson(join(directory, 'dataset_dict.json'), { splits: splitNames });
}

/** Writes `state.json` and `dataset_info.json` of one split. */
export async function writeSplitFiles(
  directory: string,
  split: SplitName,
  { description, classes, image }: Pick<DatasetSource, 'description' | 'classes' | 'image'>,
  shards: readonly ShardRecord[],
): Promise<void> {
  const fingerprint = createHash('sha256').update(shards.map(({ sha256 }) => sha256).join());
  await writeJson(join(directory, 'state.json'), {
    _data_files: shards.map(({ file }) => ({ filename: file })),
    _fingerprint: fingerprint.digest('hex').slice(0, 16),
    _format_columns: null,
    _format_kwargs: {},
    _format_type: null,
    _output_all_columns: false,
    _split: split,
  });
  await writeJson(join(directory, 'dataset_info.json'), {
    citation: '',
    description,
    features: image.isFeatures ? featuresOfRows(classes, image.width) : features(classes),
    homepage: '',
    license: '',
  });
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 2)}\n`);
}
