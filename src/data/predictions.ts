import {
  type Data,
  DataType,
  Field,
  Float32,
  Int32,
  List,
  makeData,
  type RecordBatch,
  Schema,
} from 'apache-arrow';
import { assert, KdSpecError } from '../core/errors.js';
import type { CsrMatrix } from '../math/csr.js';
import { column, integers } from './arrow-columns.js';
import { indexArrowFiles } from './arrow-folder.js';
import { openShard, readBatch, type ShardIndex } from './arrow-shard.js';
import { createShardWriter, type ShardRecord, type ShardWriter } from './arrow-shard-writer.js';

/** Predictions of some rows. */
export interface PredictionBatch {
  /** (rows, classes): the most probable classes of each row; a row sums to at most 1. */
  readonly probabilities: CsrMatrix;
  /** (rows), where they are known. */
  readonly labels: Int32Array | undefined;
}

/** Predictions on disk. */
export interface Predictions {
  /** The number of classes; `undefined` for files without rows that do not say it. */
  readonly classes: number | undefined;
  readonly rowCount: number;
  /** Streams all rows, in the written order, a record batch at a time. */
  rows(): AsyncIterable<PredictionBatch>;
}

/** See {@link createPredictionWriter}. */
export interface PredictionWriter {
  write(batch: PredictionBatch): Promise<void>;
  close(): Promise<readonly ShardRecord[]>;
  abort(): Promise<void>;
}

/** Schema metadata that holds the number of classes. */
const classesKey = 'kd-spec.classes';
/** An index beyond this is taken for damage when nobody said how many classes there are. */
const classLimit = 2 ** 26;
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
 * @param options.shardBytes a new shard begins before one grows beyond this many bytes
 * @throws KdSpecError `disk-full`, `not-readable`
 * Cost: a batch is written as it comes, nothing is held.
 */
export function createPredictionWriter(
  directory: string,
  { classes, shardBytes = 64 * 2 ** 20 }: { readonly classes: number; readonly shardBytes?: number },
): PredictionWriter {
  let opened: { readonly writer: ShardWriter; readonly labelled: boolean } | undefined;

  const open = async (labelled: boolean) => {
    const fields: Field[] = [
      new Field('indices', indicesType, false),
      new Field('probabilities', probabilitiesType, false),
    ];
    if (labelled) fields.push(new Field('label', new Int32(), false));
    const schema = new Schema(fields, new Map([[classesKey, String(classes)]]));
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
 * Opens predictions: ours, or any Arrow files (stream or file format, not compressed) with the same columns.
 *
 * Every row is checked to be a sparse sub-distribution: indices in range and each once, probabilities
 * finite, not negative, with a sum of at most 1 + 1e-3.
 *
 * @param path an Arrow file, or a folder of `*.arrow` files
 * @param options.classes the number of classes; default what the files say. When neither is known, it is the
 *   highest index or label + 1, which takes a pass over the files
 * @throws KdSpecError `predictions-invalid` naming file and row (while streaming), `not-found`, `shard-truncated`
 * Cost: one record batch in memory.
 */
export async function readPredictions(
  path: string,
  options: { readonly classes?: number | undefined } = {},
): Promise<Predictions> {
  const shards = await indexArrowFiles(path, 'predictions as Arrow files');
  const recorded = Number(shards[0]?.schema.metadata.get(classesKey));
  for (const shard of shards) checkColumns(shard);
  const classes = options.classes ?? (recorded > 0 ? recorded : await countClasses(shards));
  return {
    classes,
    rowCount: shards.reduce((sum, { rows }) => sum + rows, 0),
    rows: () => streamBatches(shards, classes),
  };
}

async function* streamBatches(
  shards: readonly ShardIndex[],
  classes: number | undefined,
): AsyncGenerator<PredictionBatch> {
  for (const shard of shards) {
    const handle = await openShard(shard.path);
    try {
      let firstRow = 0;
      for (const location of shard.batches) {
        yield decodePredictions(await readBatch(handle, shard, location), shard.path, firstRow, classes);
        firstRow += location.rows;
      }
    } finally {
      await handle.close();
    }
  }
}

function isListType(type: unknown): boolean {
  return DataType.isList(type) || DataType.isLargeList(type) || DataType.isFixedSizeList(type);
}

/** The highest index or label + 1; `undefined` without rows. */
async function countClasses(shards: readonly ShardIndex[]): Promise<number | undefined> {
  let classes = 0;
  for await (const { probabilities, labels } of streamBatches(shards, undefined)) {
    classes = Math.max(classes, probabilities.columns);
    for (const label of labels ?? []) classes = Math.max(classes, label + 1);
  }
  return classes > 0 ? classes : undefined;
}

function checkColumns({ path, schema }: ShardIndex): void {
  for (const name of ['indices', 'probabilities']) {
    const type: unknown = schema.fields.find((field) => field.name === name)?.type;
    if (!isListType(type)) {
      throw new KdSpecError(
        'predictions-invalid',
        `${path}: expected the columns indices: list<int32> and probabilities: list<float32>, ` +
          `found ${name}: ${type ?? 'missing'}`,
      );
    }
  }
}

function decodePredictions(
  batch: RecordBatch,
  path: string,
  firstRow: number,
  classes: number | undefined,
): PredictionBatch {
  const rows = batch.numRows;
  const invalid = (row: number, what: string) =>
    new KdSpecError(
      'predictions-invalid',
      `${path}, row ${firstRow + row}: ${what}; write the predictions again`,
    );
  const lists = ['indices', 'probabilities'].map((name) => listColumn(column(batch, name), rows, invalid));
  const [{ offsets, values: indexValues }, { offsets: otherOffsets, values: probabilityValues }] = lists;

  const csrOffsets = new Int32Array(rows + 1);
  for (let row = 0; row < rows; row++) {
    const length = offsets[row + 1] - offsets[row];
    const other = otherOffsets[row + 1] - otherOffsets[row];
    if (length !== other)
      throw invalid(row, `expected as many probabilities as indices, ${length}, found ${other}`);
    csrOffsets[row + 1] = csrOffsets[row] + length;
  }
  const indexView = indexValues.subarray(offsets[0], offsets[rows]);
  const valueView = probabilityValues.subarray(otherOffsets[0], otherOffsets[rows]);
  const indices = indexView instanceof Int32Array ? indexView.slice() : Int32Array.from(indexView, Number);
  const values = valueView instanceof Float32Array ? valueView.slice() : Float32Array.from(valueView, Number);
  const columns = classes ?? indices.reduce((highest, index) => Math.max(highest, index), -1) + 1;
  if (columns > classLimit)
    throw invalid(0, `expected indices below ${classLimit}, found ${columns - 1} near it`);
  const lastSeen = new Int32Array(columns).fill(-1); // (classes), the row in which an index stood last
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let entry = csrOffsets[row]; entry < csrOffsets[row + 1]; entry++) {
      const index = indices[entry];
      const value = values[entry];
      if (!(index >= 0 && index < columns))
        throw invalid(row, `expected indices in [0, ${columns}), found ${index}`);
      if (lastSeen[index] === row) throw invalid(row, `expected each class once, found ${index} again`);
      if (!(value >= 0))
        throw invalid(row, `expected probabilities of 0 or more, found ${value} for class ${index}`);
      lastSeen[index] = row;
      sum += value;
    }
    if (!(sum <= 1 + sumTolerance))
      throw invalid(row, `expected probabilities that sum to at most 1, found ${sum}`);
  }
  const labels = readLabels(column(batch, 'label'), rows, path, firstRow, classes, invalid);
  return { probabilities: { rows, columns, offsets: csrOffsets, indices, values }, labels };
}

type Invalid = (row: number, what: string) => KdSpecError;
type NumberArray = Int32Array | Float32Array | Float64Array | Uint32Array;

function listColumn(data: Data | undefined, rows: number, invalid: Invalid) {
  assert(data !== undefined, 'a list column vanished between schema and batch');
  for (let row = 0; data.nullCount > 0 && row < rows; row++) {
    if (!data.getValid(row)) throw invalid(row, 'expected lists, found null');
  }
  const child = data.children[0];
  const numeric =
    DataType.isInt(child.type) || (DataType.isFloat(child.type) && !(child.values instanceof Uint16Array));
  if (!numeric) throw invalid(0, `expected lists of numbers, found ${data.type}`);
  if (child.nullCount > 0)
    throw invalid(0, 'expected numbers in the lists, found null in this row or a later one');
  const width: number = DataType.isFixedSizeList(data.type) ? data.type.listSize : 0;
  const starts: Int32Array | BigInt64Array = data.valueOffsets;
  const offsets =
    width > 0
      ? Int32Array.from({ length: rows + 1 }, (_, row) => row * width)
      : starts instanceof Int32Array
        ? starts
        : Int32Array.from(starts, Number); // of a large list: a batch is smaller than 2^31 all the same
  const values: NumberArray = child.values;
  return { offsets, values };
}

function readLabels(
  data: Data | undefined,
  rows: number,
  path: string,
  firstRow: number,
  classes: number | undefined,
  invalid: Invalid,
): Int32Array | undefined {
  if (!data) return undefined;
  const labelAt = integers(data, { path, firstRow });
  const labels = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    const label = labelAt(row);
    if (!(label >= 0 && label < (classes ?? Number.POSITIVE_INFINITY))) {
      throw invalid(row, `expected a label in [0, ${classes ?? '...'}), found ${label}`);
    }
    labels[row] = label;
  }
  return labels;
}
