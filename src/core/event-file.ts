/**
 * TensorBoard's event files: records of a length, a checksum, the bytes of an `Event`, and a checksum of these.
 *
 *     uint64 length | uint32 masked crc32c of it | bytes | uint32 masked crc32c of them
 *
 * An event is a protocol buffer of a few fields, written here by hand: wall_time (1, double), step (2, varint), file_version
 * (3, string), summary (5) of one value (1) with tag (1, string) and simple_value (2, float).
 *
 * Source: tensorflow/core/lib/io/record_writer.cc, tensorflow/core/util/event.proto, summary.proto.
 */
export interface Scalar {
  readonly tag: string;
  readonly step: number;
  readonly value: number;
  /** Seconds since 1970. */
  readonly wallTime: number;
}

/** The first record of every file. */
export function eventFileStart(wallTime: number): Uint8Array {
  return record(Buffer.concat([fixed64(1, wallTime), bytesField(3, Buffer.from('brain.Event:2'))]));
}

/** A record with one number. */
export function scalarRecord({ tag, step, value, wallTime }: Scalar): Uint8Array {
  const simpleValue = Buffer.alloc(5);
  simpleValue[0] = (2 << 3) | 5;
  simpleValue.writeFloatLE(value, 1);
  const one = Buffer.concat([bytesField(1, Buffer.from(tag)), simpleValue]);
  return record(
    Buffer.concat([
      fixed64(1, wallTime),
      Buffer.from([2 << 3]),
      varint(step),
      bytesField(5, bytesField(1, one)),
    ]),
  );
}

function record(content: Buffer): Uint8Array {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(content.length));
  return Buffer.concat([length, checksum(length), content, checksum(content)]);
}

function fixed64(field: number, value: number): Buffer {
  const written = Buffer.alloc(9);
  written[0] = (field << 3) | 1;
  written.writeDoubleLE(value, 1);
  return written;
}

function bytesField(field: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(field << 3) | 2]), varint(content.length), content]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = Math.max(0, Math.floor(value));
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  return Buffer.from([...bytes, rest]);
}

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value >>> 0;
});

/** CRC-32C (Castagnoli), rotated and shifted as the format wants it. */
function checksum(bytes: Uint8Array): Buffer {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 0xff];
  crc = (crc ^ 0xffffffff) >>> 0;
  const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  const written = Buffer.alloc(4);
  written.writeUInt32LE(masked);
  return written;
}
