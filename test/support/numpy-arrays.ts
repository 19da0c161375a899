import { crc32, deflateRawSync } from 'node:zlib';

/** A NumPy array as `numpy.save` writes it. */
export function npy(values: Float32Array | Int32Array | string[], shape: readonly number[]): Buffer {
  const isText = Array.isArray(values);
  const length = isText ? Math.max(1, ...values.map((text) => text.length)) : 1;
  const type = isText ? `<U${length}` : values instanceof Int32Array ? '<i4' : '<f4';
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`;
  const header = `${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`;
  const start = Buffer.from('\x93NUMPY\x01\x00\x00\x00', 'latin1');
  start.writeUInt16LE(header.length, 8);
  let data: Buffer;
  if (!isText) data = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  else {
    data = Buffer.alloc(4 * length * values.length);
    for (const [row, value] of values.entries())
      for (const [at, character] of [...value].entries())
        data.writeUInt32LE(character.codePointAt(0) ?? 0, 4 * (row * length + at));
  }
  return Buffer.concat([start, Buffer.from(header, 'latin1'), data]);
}

/** Arrays as `numpy.savez` or `numpy.savez_compressed` writes them. */
export function npz(arrays: Readonly<Record<string, Buffer>>, { isPacked = false } = {}): Buffer {
  const files: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [key, bytes] of Object.entries(arrays)) {
    const name = Buffer.from(`${key}.npy`);
    const data = isPacked ? deflateRawSync(bytes) : bytes;
    const common = Buffer.alloc(26); // from the version needed to the length of the extra field
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(isPacked ? 8 : 0, 4);
    common.writeUInt32LE(crc32(bytes), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(bytes.length, 18);
    common.writeUInt16LE(name.length, 22);
    const place = Buffer.alloc(14); // from the length of the comment to the offset
    place.writeUInt32LE(offset, 10);
    const file = Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), common, name, data]);
    directory.push(Buffer.from('PK\x01\x02\x14\x00', 'latin1'), common, place, name);
    files.push(file);
    offset += file.length;
  }
  const entries = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(entries.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...files, entries, end]);
}
