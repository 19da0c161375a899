import { type Data, Field, Float32, Int32, List, makeData, Schema } from 'apache-arrow';
import { z } from 'zod';
import { assert, KdSpecError } from '../core/errors.js';
import { readBatch } from './arrow-batch.js';
import { indexArrowFiles } from './arrow-folder.js';
import { openShard, type ShardIndex } from './arrow-shard.js';
import { createShardWriter, type ShardRecord, type ShardWriter } from './arrow-shard-writer.js';
import { checkColumns, decodePredictions, grown, idAdvice } from './prediction-batches.js';
import {
  denseColumns,
  isPredictionTable,
  type PredictionBatch,
  type Predictions,
  readPredictionTable,
} from './prediction-tables.js';
import { classesKey, classLimit, namesKey, recordedNames } from './recorded-names.js';

export type { PredictionBatch, Predictions } from './prediction-tables.js';

/** See {@link createPredictionWriter}. */
export interface PredictionWriter {
  write(batch: PredictionBatch): Promise<void>;
  close(): Promise<readonly ShardRecord[]>;
  abort(): Promise<void>;
}

/** What Python's `datasets` writes: the features of the columns, among them a ClassLabel. */
const huggingFaceKey = 'huggingface';
const huggingFaceInfo = z.object({
  info: z.object({ features: z.object({ label: z.object({ names: z.array(z.string()) }) }) }),
});
/** When nobody said how many classes there are: that many, if only one in a thousand of them occurs, are ids. */
const undeclaredLimit = 10_000;
const undeclaredShare = 1000;
const mostNames = 50_000; // that the metadata of every shard may hold
const fewClasses = 4096; // for which there is room at first

const indicesType = new List(new Field('item', new Int32(), false));
const probabilitiesType = new List(new Field('item', new Float32(), false));

/**
 * Writes sparse predictions as Arrow shards with the columns `indices: list<int32>`,
 * `probabilities: list<float32>` and, when the first batch has labels, `label: int32`.
 *
 * @param directory made when it does not exist
 * @param options.classes columns of every batch that will be written
 * @param options.names of the classes, for the metadata; none where they are many
 * @param options.shardBytes a new shard begins before one grows beyond this many bytes
 * @throws KdSpecError `disk-full`, `not-readable`
 * Cost: a batch is written as it comes, nothing is held.
 */
export function createPredictionWriter(
  directory: string,
  {
    classes,
    names,
    shardBytes = 64 * 2 ** 20,
  }: { readonly classes: number; readonly names?: readonly string[]; readonly shardBytes?: number },
): PredictionWriter {
  let opened: { readonly writer: ShardWriter; readonly labelled: boolean } | undefined;

  const open = async (labelled: boolean) => {
    const fields: Field[] = [
      new Field('indices', indicesType, false),
      new Field('probabilities', probabilitiesType, false),
    ];
    if (labelled) fields.push(new Field('label', new Int32(), false));
    const metadata = new Map([[classesKey, String(classes)]]);
    if (names && classes <= mostNames) metadata.set(namesKey, JSON.stringify(names));
    const schema = new Schema(fields, metadata);
    opened = { writer: await createShardWriter(directory, schema, { shardBytes }), labelled };
    return opened;
  };

  return {
    async write({ probabilities, labels }) {
      const { writer, labelled } = opened ?? (await open(labels !== undefined));
      assert(
        labelled === (labels !== undefined),
        'some batches of predictions have labels, others have none',
      );
      assert(
        probabilities.columns === classes,
        `predictions of ${probabilities.columns} classes, not ${classes}`,
      );
      const { rows: length, offsets: valueOffsets, indices, values } = probabilities;
      const entries = valueOffsets[length];
      const classList = makeData({ type: new Int32(), length: entries, data: indices.subarray(0, entries) });
      const valueList = makeData({ type: new Float32(), length: entries, data: values.subarray(0, entries) });
      const columns: Data[] = [
        makeData({ type: indicesType, length, valueOffsets, child: classList }),
        makeData({ type: probabilitiesType, length, valueOffsets, child: valueList }),
      ];
      if (labels) columns.push(makeData({ type: new Int32(), length, data: labels }));
      await writer.write(columns);
    },
    async close() {
      const { writer } = opened ?? (await open(false));
      return writer.close();
    },
    async abort() {
      await opened?.writer.abort();
    },
  };
}

/**
 * Opens predictions: ours, or any Arrow files (stream or file format, compressed or not) with the same columns. Indices
 * may be integers or whole floats of any width, probabilities floats of any width; other columns are passed over. NumPy arrays,
 * Parquet, and an Arrow file with predictions of all classes are read too; see `prediction-tables.ts`.
 *
 * Every row is checked, in the types of the file, to be a sparse sub-distribution: indices in range and each once,
 * probabilities finite, not negative, with a sum of at most 1 + 1e-3.
 *
 * @param path an Arrow file, or a folder of `*.arrow` or `*.feather` files
 * @param options.classes the number of classes; default what the files say. When neither is known, it is the
 *   highest index or label + 1, which takes a pass over the files
 * @param options.isOrdered whether row r is to be example r, so that files whose names do not tell their order are refused
 * @throws KdSpecError `predictions-invalid` naming file and row (while streaming), or when the number of classes that
 *   the files say is not `options.classes`, or is over a million; `not-found`, `shard-truncated`
 * Cost: one record batch in memory, and 8 bytes a class.
 *
 * @example
 * const predictions = await readPredictions('kd-workspace/predictions');
 * for await (const { probabilities, labels } of predictions.rows()) console.log(probabilities.rows, labels?.[0]);
 */
export async function readPredictions(
  path: string,
  options: { readonly classes?: number | undefined; readonly isOrdered?: boolean } = {},
): Promise<Predictions> {
  const { isOrdered = false } = options;
  if (isPredictionTable(path)) return readPredictionTable(path, options);
  const shards = await indexArrowFiles(path, 'predictions as Arrow files', { isOrdered });
  const [first] = shards;
  if (shards.length === 1 && first.path === path && holdsAllClasses(first.schema)) {
    const table = await readPredictionTable(path, options);
    return { ...table, names: table.names ?? namesOfShard(first) };
  }
  let classes = options.classes;
  let names: readonly string[] | undefined;
  for (const shard of shards) {
    checkColumns(shard);
    const ofShard = namesOfShard(shard);
    if (names && ofShard && names.join('\n') !== ofShard.join('\n')) {
      throw new KdSpecError(
        'predictions-invalid',
        `${shard.path}: expected the class names of ${shards[0].path}, found others: store them together again`,
      );
    }
    names ??= ofShard;
    const recorded = recordedClasses(shard) ?? ofShard?.length;
    if (recorded !== undefined && classes !== undefined && recorded !== classes) {
      throw new KdSpecError(
        'predictions-invalid',
        `${shard.path}: expected predictions for ${classes} classes, but its metadata (${classesKey} or class names) gives ${recorded}: ` +
          'are they for another data set?',
      );
    }
    classes ??= recorded;
  }
  classes ??= await countClasses(shards);
  return {
    classes,
    names,
    rowCount: shards.reduce((sum, { rows }) => sum + rows, 0),
    rows: () => streamBatches(shards, classes),
  };
}

/** Whether the columns are logits or probabilities of all classes instead of some with their indices. */
function holdsAllClasses({ fields }: Schema): boolean {
  const names = fields.map(({ name }) => String(name).toLowerCase()); // a damaged schema has fields without one
  return !names.includes('indices') && denseColumns.some((name) => names.includes(name));
}

/** The number of classes that a file's metadata says. */
function recordedClasses({ path, schema }: ShardIndex): number | undefined {
  const text = schema.metadata.get(classesKey);
  if (text === undefined) return undefined;
  const classes = /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (classes >= 1 && classes <= classLimit) return classes;
  throw new KdSpecError(
    'predictions-invalid',
    `${path}: expected in the metadata ${classesKey} a whole number of classes from 1 to ${classLimit}, ` +
      `found ${JSON.stringify(text)}: write it again, or leave it out`,
  );
}

/**
 * The class names that a file's metadata holds: a list under `kd-spec.names`, or the ClassLabel of the column `label` as
 * Python's `datasets` writes it.
 */
function namesOfShard({ path, schema }: ShardIndex): readonly string[] | undefined {
  const otherwise = huggingFaceNames(schema.metadata.get(huggingFaceKey));
  return recordedNames(path, schema.metadata, { otherwise, code: 'predictions-invalid' });
}

function huggingFaceNames(text: string | undefined): readonly string[] | undefined {
  if (text === undefined) return undefined;
  try {
    return huggingFaceInfo.safeParse(JSON.parse(text)).data?.info.features.label.names;
  } catch {
    return undefined; // of another program that took the same key
  }
}

async function* streamBatches(
  shards: readonly ShardIndex[],
  classes: number | undefined,
): AsyncGenerator<PredictionBatch> {
  const seen = { stamps: new Float64Array(classes ?? fewClasses), row: 0 };
  for (const shard of shards) {
    const handle = await openShard(shard.path);
    try {
      let firstRow = 0;
      for (const location of shard.batches) {
        const batch = await readBatch(handle, shard, location);
        for (const part of decodePredictions(batch, { path: shard.path, firstRow, classes, seen })) {
          yield part;
          await new Promise((resolve) => setImmediate(resolve)); // some programs write all rows as one batch
        }
        firstRow += location.rows;
      }
    } finally {
      await handle.close();
    }
  }
}

/** The highest index or label + 1; `undefined` without rows. */
async function countClasses(shards: readonly ShardIndex[]): Promise<number | undefined> {
  let classes = 0;
  let occurs = new Uint8Array(fewClasses);
  for await (const { probabilities, labels } of streamBatches(shards, undefined)) {
    classes = Math.max(classes, probabilities.columns);
    for (const label of labels ?? []) classes = Math.max(classes, label + 1);
    if (classes > occurs.length) occurs = grown(occurs, classes);
    for (const index of probabilities.indices) occurs[index] = 1;
    for (const label of labels ?? []) occurs[label] = 1;
  }
  const distinct = occurs.reduce((sum, one) => sum + one, 0);
  if (classes > undeclaredLimit && distinct * undeclaredShare < classes) {
    throw new KdSpecError(
      'predictions-invalid',
      `${shards[0].path}: the highest index or label, ${classes - 1}, would mean ${classes} classes, of which ${distinct} ` +
        `occur: ${idAdvice}; if there are as many, say so in the metadata of the schema (${classesKey})`,
    );
  }
  return classes > 0 ? classes : undefined;
}
