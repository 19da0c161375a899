import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Binary, Float32, Int64, makeData, Utf8 } from 'apache-arrow';
import { assert, KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { type Log, silentLog } from '../core/log.js';
import { makeFolder } from '../core/make-folder.js';
import { createPause } from '../core/pause.js';
import { createShardWriter, type ShardRecord } from './arrow-shard-writer.js';
import { writeClassNames } from './class-names.js';
import { classesName, manifestName, reportName } from './dataset-files.js';
import type { DatasetManifest } from './dataset-manifest.js';
import {
  featureSchema,
  featureType,
  imageSchema,
  imageType,
  writeDatasetDict,
  writeSplitFiles,
} from './hugging-face-layout.js';
import { encodePng } from './image-codec.js';
import type { ImportReport } from './import-report.js';
import type { DatasetSource, SplitName } from './source.js';

/** What {@link writeDataset} wrote. */
export interface DatasetSummary {
  readonly classes: number;
  readonly splits: Readonly<
    Record<SplitName, { readonly rows: number; readonly shards: number; readonly bytes: number }>
  >;
  /** (classes), images of each class. */
  readonly labels: Readonly<Record<SplitName, Int32Array>>;
  /** What an import left out and why. */
  readonly report?: ImportReport;
}

/** Rows of a record batch: the unit in which readers draw and shuffle. */
const batchRows = 256;
/** And its size, for large images. */
const batchLimitBytes = 4 * 2 ** 20;
const progressRows = 256;

/**
 * Writes a data set as Arrow shards, in the layout of Hugging Face's `DatasetDict.save_to_disk`.
 *
 * `dataset_dict.json`, `classes.txt`, `kd-spec.json`, for an import `import.json`, and for each split a folder with
 * `data-00000-of-000NN.arrow`, `state.json` and `dataset_info.json`; images are stored as lossless PNG, features as
 * float32.
 * `kd-spec.json` is written last: a folder without it is not a data set.
 *
 * @param directory made when it does not exist; must not hold a data set yet
 * @param source the images and their classes; class names must be unique, each on one line
 * @param options.shardBytes a new shard begins before one grows beyond this many bytes
 * @param options.log gets one bar a split
 * @param options.signal stops between two images
 * @param options.needsTraining whether an import without a training image is refused, and its classes without one told
 * @param options.areKnown whether the classes are those of a model, or of logits beside features, which knows them without
 *   examples
 * @returns rows, shards and bytes of each split
 * @throws KdSpecError `dataset-invalid`, `disk-full`, `not-readable`, `interrupted`
 * Cost: one pass over the source; one record batch (256 images, 4 MiB) in memory.
 *
 * @example
 * await writeDataset('dataset', {
 *   description: 'Black and white',
 *   classes: ['black', 'white'],
 *   image: { height: 1, width: 1, channels: 1 },
 *   augmentation: { kind: 'none' },
 *   count: () => 2,
 *   images: async function* () {
 *     yield { pixels: Uint8Array.of(0), label: 0 };
 *     yield { pixels: Uint8Array.of(255), label: 1 };
 *   },
 * });
 */
export async function writeDataset(
  directory: string,
  source: DatasetSource,
  {
    shardBytes = 64 * 2 ** 20,
    log = silentLog,
    signal,
    needsTraining = true,
    areKnown = false,
  }: {
    readonly shardBytes?: number;
    readonly log?: Log;
    readonly signal?: AbortSignal;
    readonly needsTraining?: boolean;
    readonly areKnown?: boolean;
  } = {},
): Promise<DatasetSummary> {
  checkClasses(source.classes);
  try {
    await makeFolder(directory);
    await refuseExisting(directory);
    const { description, classes } = source;
    const labels = {
      train: new Int32Array(classes.length),
      validation: new Int32Array(classes.length),
      test: new Int32Array(classes.length),
    };
    const write = async (split: SplitName) => {
      const shards = await writeSplit(directory, split, source, labels[split], shardBytes, log, signal);
      await writeSplitFiles(join(directory, split), split, source, shards);
      return { rows: shards.reduce((sum, { rows }) => sum + rows, 0), shards: [...shards] };
    };
    const splits = {
      train: await write('train'),
      validation: await write('validation'),
      test: await write('test'),
    };
    const found = source.report?.();
    const report =
      found && (needsTraining ? withEmptyClasses(found, labels.train, source, { areKnown }) : found);
    if (report) await writeFile(join(directory, reportName), `${JSON.stringify(report, null, 2)}\n`);
    const ceiling = await source.ceiling?.(signal);
    const manifest: DatasetManifest = {
      format: 'kd-spec-dataset',
      version: 1,
      description,
      classes: classes.length,
      image: { ...source.image },
      augmentation: { ...source.augmentation },
      ...(ceiling && { ceiling: { ...ceiling } }),
      splits,
    };
    await writeDatasetDict(directory);
    await writeClassNames(join(directory, classesName), classes);
    await writeFile(join(directory, manifestName), `${JSON.stringify(manifest, null, 2)}\n`);

    const summary = ({ rows, shards }: (typeof splits)[SplitName]) => ({
      rows,
      shards: shards.length,
      bytes: shards.reduce((sum, { bytes }) => sum + bytes, 0),
    });
    return {
      classes: classes.length,
      splits: {
        train: summary(splits.train),
        validation: summary(splits.validation),
        test: summary(splits.test),
      },
      labels,
      ...(report && { report }),
    };
  } catch (error) {
    throw asFileError(error, directory, 'a folder to write into');
  }
}

async function writeSplit(
  directory: string,
  split: SplitName,
  source: DatasetSource,
  labelCounts: Int32Array,
  shardBytes: number,
  log: Log,
  signal: AbortSignal | undefined,
): Promise<readonly ShardRecord[]> {
  const total = source.count(split);
  const bar = log.progress(`write ${split}`, total);
  const { isFeatures, width } = source.image;
  const schema = isFeatures ? featureSchema(source.classes, width) : imageSchema(source.classes);
  const writer = await createShardWriter(join(directory, split), schema, { shardBytes });
  const flushBytes = Math.min(batchLimitBytes, shardBytes / 2);
  let images: Uint8Array[] = [];
  let labels: bigint[] = [];
  let bytes = 0;
  let done = 0;
  const pause = createPause(undefined, 'writing'); // a generator makes images without waiting for anything
  const flush = async () => {
    if (images.length > 0) {
      await writer.write(isFeatures ? featureColumns(images, labels, width) : imageColumns(images, labels));
    }
    images = [];
    labels = [];
    bytes = 0;
  };
  try {
    for await (const { pixels, label } of source.images(split)) {
      const turn = pause();
      if (turn) await turn;
      if (signal?.aborted) {
        throw new KdSpecError(
          'interrupted',
          `stopped after ${done} of ${total} ${split} images: run it again`,
        );
      }
      assert(
        Number.isInteger(label) && label >= 0 && label < source.classes.length,
        `label ${label} in ${split}`,
      );
      const stored = isFeatures ? pixels : await encodePng(pixels, source.image);
      images.push(stored);
      labels.push(BigInt(label));
      labelCounts[label]++;
      bytes += stored.length;
      if (images.length === batchRows || bytes >= flushBytes) await flush();
      if (++done % progressRows === 0) bar.update(done);
    }
    const isWhole = source.report ? done <= total : done === total;
    assert(isWhole, `${split} announced ${total} images and gave ${done}`);
    await flush();
    const shards = await writer.close();
    bar.finish();
    return shards;
  } catch (error) {
    await writer.abort();
    bar.finish('stopped');
    throw error;
  }
}

/** Tells of the classes without a training image: left out, or known to the model whose classes they are. */
function withEmptyClasses(
  report: ImportReport,
  trainLabels: Int32Array,
  { classes, image }: Pick<DatasetSource, 'classes' | 'image'>,
  { areKnown }: { readonly areKnown: boolean },
): ImportReport {
  const empty = classes.filter((_, label) => trainLabels[label] === 0);
  if (empty.length === classes.length) {
    throw new KdSpecError(
      'dataset-invalid',
      `expected training images, found none that can be read: check the source`,
    );
  }
  if (empty.length === 0) return report;
  const finding = (what: string) => ({ what, count: empty.length, example: empty[0] });
  return areKnown
    ? {
        ...report,
        notes: [
          ...report.notes,
          finding(
            image.isFeatures
              ? 'classes without a training row, which stay as their logits have them'
              : 'classes without a training image, which stay as the model has them',
          ),
        ],
      }
    : {
        ...report,
        leftOut: [...report.leftOut, finding('classes without a training image, which cannot be learned')],
      };
}

/** The columns `image` (struct of the files' bytes and a null path) and `label` of a record batch. */
function imageColumns(images: readonly Uint8Array[], labels: readonly bigint[]) {
  const rows = images.length;
  const offsets = new Int32Array(rows + 1);
  for (const [row, image] of images.entries()) offsets[row + 1] = offsets[row] + image.length;
  const bytes = makeData({
    type: new Binary(),
    length: rows,
    valueOffsets: offsets,
    data: Buffer.concat(images),
  });
  const paths = makeData({
    type: new Utf8(),
    length: rows,
    nullCount: rows,
    nullBitmap: new Uint8Array(Math.ceil(rows / 8)),
    valueOffsets: new Int32Array(rows + 1),
    data: new Uint8Array(0),
  });
  return [
    makeData({ type: imageType, length: rows, children: [bytes, paths] }),
    makeData({ type: new Int64(), length: rows, data: BigInt64Array.from(labels) }),
  ];
}

/** The columns `features` and `label` of a record batch. */
function featureColumns(rows: readonly Uint8Array[], labels: readonly bigint[], width: number) {
  const bytes = Buffer.concat(rows);
  const data = new Float32Array(rows.length * width); // (rows, width)
  Buffer.from(data.buffer).set(bytes);
  const child = makeData({ type: new Float32(), length: data.length, data });
  return [
    makeData({ type: featureType(width), length: rows.length, child }),
    makeData({ type: new Int64(), length: rows.length, data: BigInt64Array.from(labels) }),
  ];
}

function checkClasses(classes: readonly string[]): void {
  const seen = new Map<string, number>();
  for (const [label, name] of classes.entries()) {
    const twin = seen.get(name);
    if (name.trim() === '' || /[\r\n]/.test(name) || twin !== undefined) {
      const found =
        twin === undefined ? JSON.stringify(name) : `${JSON.stringify(name)} again, as for class ${twin}`;
      throw new KdSpecError(
        'dataset-invalid',
        `expected a name of its own, on one line, for class ${label}, found ${found}: rename the class`,
      );
    }
    seen.set(name, label);
  }
  if (classes.length === 0) {
    throw new KdSpecError(
      'dataset-invalid',
      'expected at least one class, found none: check the source of the data',
    );
  }
}

async function refuseExisting(directory: string): Promise<void> {
  const names = await readdir(directory);
  const present = [manifestName, 'dataset_dict.json', 'state.json'].find((name) => names.includes(name));
  if (present) {
    throw new KdSpecError(
      'dataset-invalid',
      `expected a folder without a data set at ${directory}, found ${present}: choose another or remove it`,
    );
  }
}
