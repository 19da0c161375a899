/**
 * A walk over the pages of a Parquet column chunk that believes nothing: a library that decodes pages makes arrays of
 * the sizes that their headers announce, before it sees whether there is as much.
 *
 * Source: Apache Parquet 2.11, `parquet.thrift`; Thrift's compact protocol.
 */

/** What the headers of a chunk may announce. */
export interface PageLimits {
  /** Values of all data pages together, and of a dictionary. */
  readonly values: number;
  /** Bytes of one page, unpacked. */
  readonly pageBytes: number;
}

type Field = number | Struct | undefined;
interface Struct {
  readonly [id: number]: Field;
}

const depthLimit = 16; // of structures within structures
// Types of the compact protocol.
const [stop, yes, no, byte, i16, i32, i64, double, binary, list, set, , struct] = [...Array(13).keys()];
// Fields of a page header, and of the headers for each kind of page within it.
const headerOf = { data: 5, dictionary: 7, dataV2: 8 };
const valuesOf = 1;

/**
 * Checks the page headers of a column chunk.
 *
 * @param chunk its bytes
 * @throws Error, when a page announces more than a limit, or reaches beyond the chunk
 */
export function checkPages(chunk: Uint8Array, limits: PageLimits): void {
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
    for (const [kind, id] of Object.entries(headerOf)) {
      const header = fields[id];
      if (typeof header !== 'object') continue;
      const count = numberOf(header[valuesOf]);
      if (kind !== 'dictionary') values += count;
      if (!(count >= 0 && count <= limits.values && values <= limits.values))
        throw new Error(`a page of ${count} values`);
    }
    at = end + packed;
  }
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
      return { value: undefined, end: at };
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
