/**
 * A walk over the pages of a Parquet column chunk that believes nothing: a library that decodes pages makes arrays of
 * the sizes that their headers announce, before it sees whether there is as much, and repeats a value as often as a run
 * says.
 *
 * Source: Apache Parquet 2.11, `parquet.thrift` and `Encodings.md`; Thrift's compact protocol.
 */

/** What the headers of a chunk may announce. */
export interface PageLimits {
  /** Values of all data pages together, and of a dictionary. */
  readonly values: number;
  /** Bytes of one page, unpacked. */
  readonly pageBytes: number;
}

/** What is known of a column before its pages are read. */
export interface PageColumn {
  /** How many of the levels of its path may be absent or repeated; 0 for a flat column that is always there. */
  readonly definitionLevels: number;
  /** How many may be repeated. */
  readonly repetitionLevels: number;
  readonly isBoolean: boolean;
  /** Unpacks a page into as many bytes. */
  unpack(page: Uint8Array, bytes: number): Uint8Array;
}

type Field = number | Struct | undefined;
interface Struct {
  readonly [id: number]: Field;
}

const depthLimit = 16; // of structures within structures
// Types of the compact protocol.
const [stop, yes, no, byte, i16, i32, i64, double, binary, list, set, , struct] = [...Array(13).keys()];
// Fields of a page header, and of the headers for each kind of page within it.
const kindOf = 1;
const [dataKind, dictionaryKind, dataV2Kind] = [0, 2, 3];
const headerOf = new Map([
  [dataKind, 5],
  [dictionaryKind, 7],
  [dataV2Kind, 8],
]);
const valuesOf = 1;
const dataPage = { encoding: 2 };
const dataPageV2 = { nulls: 2, encoding: 4, definitionBytes: 5, repetitionBytes: 6, isCompressed: 7 };
// Encodings of a page.
const [plainDictionary, runLength, runLengthDictionary] = [2, 3, 8];

/**
 * Checks the page headers of a column chunk, and the runs of its pages.
 *
 * @param chunk its bytes
 * @throws Error, when a page announces more than a limit or holds more than it announces, or reaches beyond the chunk
 * Cost: each data page is unpacked once.
 */
export function checkPages(chunk: Uint8Array, column: PageColumn, limits: PageLimits): void {
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  let at = 0;
  let values = 0;
  while (at < chunk.length - 1) {
    const { fields, end } = readStruct(view, at, 0);
    const unpacked = numberOf(fields[2]);
    const packed = numberOf(fields[3]);
    if (!(packed >= 0 && end + packed <= chunk.length))
      throw new Error(`a page of ${packed} bytes reaches beyond its column`);
    if (!(unpacked >= 0 && unpacked <= limits.pageBytes))
      throw new Error(`a page of ${unpacked} bytes, unpacked`);
    const kind = numberOf(fields[kindOf]);
    const header = fields[headerOf.get(kind) ?? Number.NaN];
    // Of a page without one, the library follows runs that have no length, without end.
    if (typeof header !== 'object') throw new Error(`a page of kind ${kind} without a header of that kind`);
    const count = numberOf(header[valuesOf]);
    if (kind !== dictionaryKind) values += count;
    if (!(count >= 0 && count <= limits.values && values <= limits.values))
      throw new Error(`a page of ${count} values`);
    const page = chunk.subarray(end, end + packed);
    if (kind === dataKind) checkRuns(column.unpack(page, unpacked), header, column);
    else if (kind === dataV2Kind) checkRunsV2(page, unpacked, header, column);
    at = end + packed;
  }
}

/** Of a data page: levels behind their lengths, then values. */
function checkRuns(page: Uint8Array, header: Struct, column: PageColumn): void {
  const count = numberOf(header[valuesOf]);
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const { repetitionLevels, definitionLevels } = column;
  let at = 0;
  let there = count;
  if (repetitionLevels > 0) {
    walkRuns(page.subarray(at + 4), widthOf(repetitionLevels), count);
    at += 4 + view.getUint32(at, true);
  }
  if (definitionLevels > 0) {
    there = walkRuns(page.subarray(at + 4), widthOf(definitionLevels), count, definitionLevels);
    at += 4 + view.getUint32(at, true);
  }
  checkValues(page.subarray(at), numberOf(header[dataPage.encoding]), there, { areFlags: column.isBoolean });
}

/** Of a data page of the second version: levels first, never compressed. */
function checkRunsV2(page: Uint8Array, unpacked: number, header: Struct, column: PageColumn): void {
  const count = numberOf(header[valuesOf]);
  const nulls = numberOf(header[dataPageV2.nulls]);
  const repetitionBytes = numberOf(header[dataPageV2.repetitionBytes]);
  const levelBytes = repetitionBytes + numberOf(header[dataPageV2.definitionBytes]);
  if (!(nulls >= 0 && nulls <= count)) throw new Error(`a page of ${count} values with ${nulls} nulls`);
  if (
    !(repetitionBytes >= 0 && levelBytes >= repetitionBytes && levelBytes <= Math.min(page.length, unpacked))
  )
    throw new Error(`a page of ${page.length} bytes with levels of ${levelBytes}`);
  const { repetitionLevels, definitionLevels } = column;
  if (repetitionLevels > 0) walkRuns(page, widthOf(repetitionLevels), count);
  if (definitionLevels > 0) walkRuns(page.subarray(repetitionBytes), widthOf(definitionLevels), count);
  const packed = page.subarray(levelBytes);
  const isPlain = header[dataPageV2.isCompressed] === 0 || unpacked === levelBytes;
  const values = isPlain ? packed : column.unpack(packed, unpacked - levelBytes);
  const encoding = numberOf(header[dataPageV2.encoding]);
  checkValues(values, encoding, count - nulls, { areFlags: encoding === runLength });
}

function checkValues(
  bytes: Uint8Array,
  encoding: number,
  count: number,
  { areFlags }: { readonly areFlags: boolean },
): void {
  if (![plainDictionary, runLength, runLengthDictionary].includes(encoding) || count === 0) return;
  if (areFlags) walkRuns(bytes.subarray(4), 1, count);
  else if (bytes.length === 0) throw new Error('a page ends before its values');
  else if (bytes[0] > 0) walkRuns(bytes.subarray(1), bytes[0], count);
}

const widthOf = (levels: number) => 32 - Math.clz32(levels);

/**
 * Follows runs of the hybrid encoding, repeated values and packed ones, until there are enough.
 *
 * @param width bits of a value
 * @returns how many of the values are `wanted`
 */
function walkRuns(bytes: Uint8Array, width: number, count: number, wanted = 0): number {
  if (width > 32) throw new Error(`values of ${width} bits`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let found = 0;
  for (let seen = 0, at = 0; seen < count; ) {
    const { value: head, end } = readVarint(view, at);
    const isPacked = head % 2 === 1;
    const run = isPacked ? ((head - 1) / 2) * 8 : head / 2;
    const size = isPacked ? (run / 8) * width : Math.ceil(width / 8);
    // A packed run is filled up to eight values.
    if (run > count - seen + (isPacked ? 7 : 0)) throw new Error(`a run of ${run} of ${count} values`);
    if (end + size > bytes.length) throw new Error('a run reaches beyond its page');
    const taken = Math.min(run, count - seen);
    if (!isPacked) found += littleEndian(bytes, end, size) === wanted ? taken : 0;
    else for (let k = 0; k < taken; k++) found += bitsAt(bytes, end, k * width, width) === wanted ? 1 : 0;
    seen += taken;
    at = end + size;
  }
  return found;
}

function littleEndian(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let k = 0; k < size; k++) value += bytes[at + k] * 256 ** k;
  return value;
}

function bitsAt(bytes: Uint8Array, start: number, first: number, width: number): number {
  let value = 0;
  for (let k = 0; k < width; k++) {
    const bit = first + k;
    value += ((bytes[start + (bit >> 3)] >> (bit & 7)) & 1) * 2 ** k;
  }
  return value;
}

function numberOf(field: Field): number {
  return typeof field === 'number' ? field : Number.NaN;
}

function readStruct(
  view: DataView,
  start: number,
  depth: number,
): { readonly fields: Struct; readonly end: number } {
  if (depth > depthLimit) throw new Error('a page header of too many levels');
  const fields: Record<number, Field> = {};
  let at = start;
  let id = 0;
  for (;;) {
    const head = view.getUint8(at++);
    const type = head & 15;
    if (type === stop) return { fields, end: at };
    if (head >> 4 !== 0) id += head >> 4;
    else {
      const read = readVarint(view, at);
      id = zigzag(read.value);
      at = read.end;
    }
    const { value, end } = readValue(view, at, type, depth);
    fields[id] = value;
    at = end;
  }
}

function readValue(
  view: DataView,
  at: number,
  type: number,
  depth: number,
): { readonly value: Field; readonly end: number } {
  switch (type) {
    case yes:
    case no:
      return { value: type === yes ? 1 : 0, end: at };
    case byte:
      return { value: view.getInt8(at), end: at + 1 };
    case i16:
    case i32:
    case i64: {
      const { value, end } = readVarint(view, at);
      return { value: zigzag(value), end };
    }
    case double:
      return { value: undefined, end: at + 8 };
    case binary: {
      const { value, end } = readVarint(view, at);
      if (end + value > view.byteLength) throw new Error('a page header reaches beyond its column');
      return { value: undefined, end: end + value };
    }
    case list:
    case set: {
      const head = view.getUint8(at);
      const long = head >> 4 === 15 ? readVarint(view, at + 1) : { value: head >> 4, end: at + 1 };
      let end = long.end;
      for (let item = 0; item < long.value; item++) {
        const isBoolean = (head & 15) === yes || (head & 15) === no;
        end = isBoolean ? end + 1 : readValue(view, end, head & 15, depth + 1).end;
        if (end > view.byteLength) throw new Error('a page header reaches beyond its column');
      }
      return { value: undefined, end };
    }
    case struct: {
      const { fields, end } = readStruct(view, at, depth + 1);
      return { value: fields, end };
    }
    default:
      throw new Error(`a page header with a field of type ${type}`);
  }
}

/** Whole numbers of up to 9 bytes; beyond 2^53 they lose digits, which no size has. */
function readVarint(view: DataView, start: number): { readonly value: number; readonly end: number } {
  let value = 0;
  for (let at = start, factor = 1; at < start + 10; at++, factor *= 128) {
    const next = view.getUint8(at);
    value += (next & 127) * factor;
    if ((next & 128) === 0) return { value, end: at + 1 };
  }
  throw new Error('a number of more than ten bytes');
}

function zigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}
