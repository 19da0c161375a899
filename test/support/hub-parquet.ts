import { parquetWriteBuffer } from 'hyparquet-writer';

/** Encoders that store bytes as they are, in the form of a codec. */
export const plainEncoders = {
  LZ4_RAW: (bytes: Uint8Array): Uint8Array => {
    const more = bytes.length - 15;
    if (more < 0) return Uint8Array.of(16 * bytes.length, ...bytes);
    return Buffer.concat([
      Uint8Array.of(0xf0),
      new Uint8Array(Math.floor(more / 255)).fill(255),
      Uint8Array.of(more % 255),
      bytes,
    ]);
  },
  ZSTD: (bytes: Uint8Array): Uint8Array => {
    const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0, 0, 0, 0]);
    head.writeUInt32LE(bytes.length, 5);
    head.writeUIntLE(8 * bytes.length + 1, 9, 3);
    return Buffer.concat([head, bytes]); // one block, of 128 KiB at most
  },
} as const;

/** A Parquet file as `datasets` writes it to the Hub: images as struct<bytes, path>, a ClassLabel, another column. */
export function hubParquet(
  images: readonly (Uint8Array | null)[],
  {
    labels,
    names,
    vendors,
    rowGroupSize = 5,
    codec = 'SNAPPY',
  }: {
    readonly labels: readonly (number | null)[];
    readonly names: readonly string[];
    readonly vendors: readonly string[];
    readonly rowGroupSize?: number;
    readonly codec?: 'SNAPPY' | 'UNCOMPRESSED' | keyof typeof plainEncoders;
  },
): Buffer {
  const schema: Parameters<typeof parquetWriteBuffer>[0]['schema'] = [
    { name: 'schema', num_children: 3 },
    { name: 'photo', repetition_type: 'OPTIONAL', num_children: 2 },
    { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
    { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
    { name: 'kind', type: 'INT64', repetition_type: 'OPTIONAL' },
    { name: 'vendor', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
  ];
  const features = {
    photo: { _type: 'Image' },
    kind: { names, _type: 'ClassLabel' },
    vendor: { dtype: 'string', _type: 'Value' },
  };
  const bytes = parquetWriteBuffer({
    columnData: [
      { name: 'photo', data: images.map((image, row) => ({ bytes: image, path: `${row}.png` })) },
      { name: 'kind', data: labels.map((label) => (label === null ? null : BigInt(label))) },
      { name: 'vendor', data: [...vendors] },
    ],
    schema,
    rowGroupSize,
    codec,
    compressors: plainEncoders,
    kvMetadata: [{ key: 'huggingface', value: JSON.stringify({ info: { features } }) }],
  });
  return Buffer.from(bytes);
}

/** A Parquet file of lists of numbers, a list a row, and of whole numbers called `label`. */
export function listParquet(
  lists: Readonly<
    Record<string, { readonly type: 'INT32' | 'FLOAT'; readonly rows: readonly (readonly number[])[] }>
  >,
  labels: readonly number[],
): Buffer {
  const columns = Object.entries(lists);
  const schema: Parameters<typeof parquetWriteBuffer>[0]['schema'] = [
    { name: 'schema', num_children: columns.length + 1 },
    ...columns.flatMap(([name, { type }]) => [
      { name, converted_type: 'LIST', repetition_type: 'OPTIONAL', num_children: 1 } as const,
      { name: 'list', repetition_type: 'REPEATED', num_children: 1 } as const,
      { name: 'element', type, repetition_type: 'OPTIONAL' } as const,
    ]),
    { name: 'label', type: 'INT32', repetition_type: 'OPTIONAL' },
  ];
  const columnData = [
    ...columns.map(([name, { rows }]) => ({ name, data: rows.map((row) => [...row]) })),
    { name: 'label', data: [...labels] },
  ];
  return Buffer.from(parquetWriteBuffer({ schema, columnData, rowGroupSize: 4, codec: 'UNCOMPRESSED' }));
}
