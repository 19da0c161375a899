import {
  type Data,
  DataType,
  Field,
  Float32,
  Int32,
  List,
  makeData,
  Precision,
  type RecordBatch,
  Schema,
} from 'apache-arrow';
import { z } from 'zod';
import { assert, KdSpecError } from '../core/errors.js';
import { parseJson } from '../core/json-file.js';
import { halfToNumber } from '../math/half.js';
import { type ColumnPlace, column, integers } from './arrow-columns.js';
import { indexArrowFiles } from './arrow-folder.js';
import { openShard, readBatch, type ShardIndex } from './arrow-shard.js';
import { createShardWriter, type ShardRecord, type ShardWriter } from './arrow-shard-writer.js';
import {
  isPredictionTable,
  type PredictionBatch,
  type Predictions,
  readPredictionTable,
} from './prediction-tables.js';

export type { PredictionBatch, Predictions } from './prediction-tables.js';

/** See {@link createPredictionWriter}. */
export interface PredictionWriter {
  write(batch: PredictionBatch): Promise<void>;
  close(): Promise<readonly ShardRecord[]>;
  abort(): Promise<void>;
}

/** Schema metadata that holds the number of classes. */
const classesKey = 'kd-spec.classes';
/** And that which holds their names, a JSON list. */
const namesKey = 'kd-spec.names';
/** What Python's `datasets` writes: the features of the columns, among them a ClassLabel. */
const huggingFaceKey = 'huggingface';
const huggingFaceInfo = z.object({
  info: z.object({ features: z.object({ label: z.object({ names: z.array(z.string()) }) }) }),
});
/** The most classes that kd-spec works with. An index or label beyond is an id, or damage. */
const classLimit = 1_000_000;
/** When nobody said how many classes there are: that many, if only one in a thousand of them occurs, are ids. */
const undeclaredLimit = 10_000;
const undeclaredShare = 1000;
const mostNames = 50_000; // that the metadata of every shard may hold
const fewClasses = 4096; // for which there is room at first
const partEntries = 2 ** 20; // that are decoded without a turn of the event loop
/** How far float32 rounding may carry a row's sum above 1. */
const sumTolerance = 1e-3;

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
 * Opens predictions: ours, or any Arrow files (stream or file format, not compressed) with the same columns. Indices may
 * be integers or whole floats of any width, probabilities floats of any width; other columns are passed over. NumPy arrays
 * and Parquet are read too; see `prediction-tables.ts`.
 *
 * Every row is checked, in the types of the file, to be a sparse sub-distribution: indices in range and each once,
 * probabilities finite, not negative, with a sum of at most 1 + 1e-3.
 *
 * @param path an Arrow file, or a folder of `*.arrow` files
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
  let classes = options.classes;
  let names: readonly string[] | undefined;
  for (const shard of shards) {
    checkColumns(shard);
    const ofShard = recordedNames(shard);
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
function recordedNames({ path, schema }: ShardIndex): readonly string[] | undefined {
  const text = schema.metadata.get(namesKey);
  const count = schema.metadata.get(classesKey);
  let names = huggingFaceNames(schema.metadata.get(huggingFaceKey));
  if (text !== undefined) {
    names = parseJson(text, path, z.array(z.string()), {
      code: 'predictions-invalid',
      advice: `write the metadata ${namesKey} as a JSON list of names, or leave it out`,
    });
  }
  if (names === undefined) return undefined;
  const isCounted = count === undefined || Number(count) === names.length;
  const isPossible = names.length >= 1 && names.length <= classLimit;
  if (isCounted && isPossible && new Set(names).size === names.length) return names;
  throw new KdSpecError(
    'predictions-invalid',
    `${path}: expected in the metadata one name for each ${isCounted ? 'class' : `of ${count} classes`}, found ` +
      `${names.length} names${isCounted && isPossible ? ', some of them twice' : ''}: write them again, or leave them out`,
  );
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

/** A copy with room for an index, and for as many again. */
function grown<T extends Uint8Array | Float64Array>(array: T, index: number): T {
  const type = array.constructor as { new (length: number): T };
  const larger = new type(Math.min(classLimit + 1, 2 * (index + 1)));
  larger.set(array);
  return larger;
}

const idAdvice = 'are these ids? Number the classes from 0 without gaps';

function checkColumns({ path, schema }: ShardIndex): void {
  for (const name of ['indices', 'probabilities']) {
    const type: unknown = schema.fields.find((field) => field.name === name)?.type;
    const isList = DataType.isList(type) || DataType.isLargeList(type) || DataType.isFixedSizeList(type);
    const item = isList ? type.valueType : undefined;
    const isEmpty = DataType.isFixedSizeList(type) && type.listSize < 1;
    if ((DataType.isInt(item) || DataType.isFloat(item)) && !isEmpty) continue;
    throw new KdSpecError(
      'predictions-invalid',
      `${path}: expected the columns indices: list<int32> and probabilities: list<float32>, ` +
        `found ${name}: ${isEmpty ? `${type}, lists of width 0` : (type ?? 'missing')}`,
    );
  }
  const label: unknown = schema.fields.find((field) => field.name === 'label')?.type;
  if (label === undefined || DataType.isInt(label)) return;
  throw new KdSpecError(
    'predictions-invalid',
    `${path}: expected the column label to hold integers, the index of each row's class, found ${label}: ` +
      'convert it, or leave it out',
  );
}

interface DecodePlace {
  readonly path: string;
  readonly firstRow: number;
  readonly classes: number | undefined;
  /** (classes so far), the number of the row in which an index stood last, counted over all batches from 1. */
  readonly seen: { stamps: Float64Array; row: number };
}

/** Decodes a record batch, in parts of bounded size. */
function* decodePredictions(
  batch: RecordBatch,
  { path, firstRow, classes, seen }: DecodePlace,
): Generator<PredictionBatch> {
  const rows = batch.numRows;
  const invalid = (row: number, what: string) =>
    new KdSpecError('predictions-invalid', `${path}, row ${firstRow + row}: ${what}`);
  const indexColumn = listColumn(column(batch, 'indices'), rows, invalid);
  const valueColumn = listColumn(column(batch, 'probabilities'), rows, invalid);
  const labels = readLabels(column(batch, 'label'), rows, { path, firstRow }, classes, invalid);
  const limit = classes ?? classLimit;
  for (let first = 0, end = 0; first < rows || first === 0; first = end) {
    for (end = first; end < rows && indexColumn.offsets[end] - indexColumn.offsets[first] < partEntries; )
      end++;
    const offsets = new Int32Array(end - first + 1);
    for (let row = first; row < end; row++) {
      const length = indexColumn.offsets[row + 1] - indexColumn.offsets[row];
      const other = valueColumn.offsets[row + 1] - valueColumn.offsets[row];
      if (length !== other)
        throw invalid(row, `expected as many probabilities as indices, ${length}, found ${other}`);
      offsets[row - first + 1] = offsets[row - first] + length;
    }
    const indices = new Int32Array(offsets[end - first]);
    const values = new Float32Array(offsets[end - first]);
    let highest = -1;
    for (let row = first; row < end; row++) {
      const start = offsets[row - first];
      const indexStart = indexColumn.offsets[row] - start;
      const valueStart = valueColumn.offsets[row] - start;
      const stamp = ++seen.row;
      let sum = 0;
      // As wide as the file has them until they are known to be in range: 2^32 + 1 is not 1.
      for (let entry = start; entry < offsets[row - first + 1]; entry++) {
        const index = indexColumn.at(indexStart + entry);
        const value = valueColumn.at(valueStart + entry);
        if (!(Number.isInteger(index) && index >= 0 && index < limit)) {
          const isId = classes === undefined && index >= limit;
          throw invalid(
            row,
            `expected whole indices from 0 to ${limit - 1}, found ${index}${isId ? `: ${idAdvice}` : ''}`,
          );
        }
        if (index >= seen.stamps.length) seen.stamps = grown(seen.stamps, index);
        if (seen.stamps[index] === stamp)
          throw invalid(row, `expected each class once, found ${index} again`);
        if (!(value >= 0))
          throw invalid(row, `expected probabilities of 0 or more, found ${value} for class ${index}`);
        seen.stamps[index] = stamp;
        highest = Math.max(highest, index);
        sum += value;
        indices[entry] = index;
        values[entry] = value;
      }
      if (!(sum <= 1 + sumTolerance))
        throw invalid(row, `expected probabilities that sum to at most 1, found ${sum}`);
    }
    const columns = classes ?? highest + 1;
    yield {
      probabilities: { rows: end - first, columns, offsets, indices, values },
      labels: labels?.subarray(first, end),
    };
    if (rows === 0) return;
  }
}

type Invalid = (row: number, what: string) => KdSpecError;

/** A column of lists of numbers: where each list begins, and the number at a place. */
function listColumn(
  data: Data | undefined,
  rows: number,
  invalid: Invalid,
): { readonly offsets: ArrayLike<number>; readonly at: (entry: number) => number } {
  assert(data !== undefined, 'a list column vanished between schema and batch');
  for (let row = 0; data.nullCount > 0 && row < rows; row++) {
    if (!data.getValid(row)) throw invalid(row, 'expected lists, found null');
  }
  const child = data.children[0];
  if (child.nullCount > 0)
    throw invalid(0, 'expected numbers in the lists, found null in this row or a later one');
  const width: number = DataType.isFixedSizeList(data.type) ? data.type.listSize : 0;
  const starts: Int32Array | BigInt64Array = data.valueOffsets;
  const offsets =
    width > 0
      ? Int32Array.from({ length: rows + 1 }, (_, row) => row * width)
      : starts instanceof Int32Array
        ? starts
        : Float64Array.from(starts, Number);
  const values: ArrayLike<number | bigint> = child.values;
  for (let row = 0; row < rows; row++) {
    if (!(offsets[row] >= 0 && offsets[row] <= offsets[row + 1] && offsets[row + 1] <= values.length))
      throw invalid(row, `its list lies outside the ${values.length} numbers of the column`);
  }
  const isHalf = DataType.isFloat(child.type) && child.type.precision === Precision.HALF;
  return {
    offsets,
    at: isHalf ? (entry) => halfToNumber(Number(values[entry])) : (entry) => Number(values[entry]),
  };
}

function readLabels(
  data: Data | undefined,
  rows: number,
  place: ColumnPlace,
  classes: number | undefined,
  invalid: Invalid,
): Int32Array | undefined {
  if (!data) return undefined;
  const labelAt = integers(data, place);
  const labels = new Int32Array(rows);
  const limit = classes ?? classLimit;
  for (let row = 0; row < rows; row++) {
    const label = labelAt(row);
    if (!(label >= 0 && label < limit)) {
      const isId = classes === undefined && label >= limit;
      throw invalid(
        row,
        `expected a label from 0 to ${limit - 1}, found ${label}${isId ? `: ${idAdvice}` : ''}`,
      );
    }
    labels[row] = label;
  }
  return labels;
}
