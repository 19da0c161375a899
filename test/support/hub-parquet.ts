import { parquetWriteBuffer } from 'hyparquet-writer';

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
    readonly codec?: 'SNAPPY' | 'UNCOMPRESSED';
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
    kvMetadata: [{ key: 'huggingface', value: JSON.stringify({ info: { features } }) }],
  });
  return Buffer.from(bytes);
}
