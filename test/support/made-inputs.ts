import { create } from '@bufbuild/protobuf';
import {
  Binary,
  Bool,
  type DataType,
  DateMillisecond,
  Dictionary,
  Field,
  FixedSizeList,
  Float16,
  Float32,
  Float64,
  Int8,
  Int16,
  Int32,
  Int64,
  List,
  Schema,
  Struct,
  Table,
  tableFromIPC,
  tableToIPC,
  Uint8,
  Uint16,
  Uint64,
  Utf8,
  type Utf8View,
  type Vector,
  vectorFromArray,
} from 'apache-arrow';
import { StringStringEntryProtoSchema, TensorProto_DataLocation, TensorProtoSchema } from 'onnx-buf';
import { stringify } from 'yaml';
import type { Random } from '../../src/core/random.js';
import { ensembleKey, fusedOutputKey } from '../../src/models/onnx/model-file.js';
import { stageOptions } from '../../src/pipeline/options.js';
import { stageNames } from '../../src/pipeline/stage-names.js';
import { floats, modelFile, node } from './onnx-models.js';

/*
 * Inputs that are made up, sound ones and ones of random types and values.
 */

/** Predictions whose columns have types, sizes, values and metadata as other programs might write them. */
export function anyPredictions(random: Random): Uint8Array {
  const pick = <T>(...items: readonly T[]): T => items[random.below(items.length)];
  const rows = pick(0, 1, 5, 40);
  const width = pick(0, 1, 2, 3);
  const odd = [2 ** 31, 2 ** 32 + 1, -1, 0.5, 1e308, Number.NaN, 15_075_141, 999_999];
  const number = (share: number) =>
    random.uniform() < share ? random.below(9) : odd[random.below(odd.length)];
  const oddity = pick(1, 1, 0.95);
  const column = (values: () => number, type: DataType) => {
    const isWide = type instanceof Int64 || type instanceof Uint64;
    const cell = () => {
      const value = values();
      return isWide ? BigInt(Number.isSafeInteger(value) ? value : 7) : value;
    };
    const isFixed = random.uniform() < 0.3;
    const item = new Field('item', type, true);
    const list = isFixed ? new FixedSizeList(width, item) : new List(item);
    const cells = Array.from({ length: rows }, () => Array.from({ length: width }, cell));
    return vectorFromArray(cells, list);
  };
  const indexType = pick<() => DataType>(
    () => new Int32(),
    () => new Int64(),
    () => new Uint8(),
    () => new Uint16(),
    () => new Uint64(),
    () => new Float64(),
    () => new Int8(),
  );
  const realType = pick<() => DataType>(
    () => new Float32(),
    () => new Float64(),
    () => new Float16(),
    () => new Int32(),
  );
  let next = 0;
  const columns: Record<string, Vector> = {
    indices: column(() => (random.uniform() < oddity ? next++ % 9 : number(0)), indexType()),
    probabilities: column(() => (random.uniform() < oddity ? 0.3 : number(0.5)), realType()),
  };
  if (random.uniform() < 0.5) {
    const labels = Array.from({ length: rows }, () => number(oddity));
    columns.label = pick<() => Vector>(
      () => vectorFromArray(labels.map(Math.trunc), new Int32()),
      () => vectorFromArray(labels, new Float64()),
      () => vectorFromArray(labels.map(String), new Dictionary(new Utf8(), new Int32())),
      () =>
        vectorFromArray(
          labels.map((value) => value > 4),
          new Bool(),
        ),
    )();
  }
  if (random.uniform() < 0.5) {
    const words = Array.from({ length: rows }, () => pick('x', '\u001b[2J', null));
    columns[pick('site', '\u001b]0;title\u0007')] = vectorFromArray(
      words,
      pick<DataType>(new Utf8(), new Dictionary(new Utf8(), new Int32())),
    );
  }
  const format = pick<'stream' | 'file'>('stream', 'file');
  const bytes = tableToIPC(new Table(columns), format);
  if (random.uniform() < 0.6) return bytes;
  const { schema, batches } = tableFromIPC(bytes);
  const metadata = new Map([
    ['kd-spec.classes', pick('9', '4.5', '0', '-1', '1e9', '', '\u001b[31m', '1000000')],
  ]);
  return tableToIPC(new Table(new Schema(schema.fields, metadata), batches), format);
}

/** A BMP file of 24 bits a pixel. */
export function bitmap(width: number, height: number): Buffer {
  const stride = Math.ceil((width * 3) / 4) * 4;
  const file = Buffer.alloc(54 + stride * height, 99);
  file.fill(0, 0, 54);
  file.write('BM', 'latin1');
  for (const [place, value] of [
    [2, file.length],
    [10, 54],
    [14, 40],
    [18, width],
    [22, height],
    [26, 1 + (24 << 16)],
  ])
    file.writeUInt32LE(value, place);
  return file;
}

/** A shard of a Hugging Face data set: any types in the columns `image` and `label`, and columns that nobody needs. */
export function anyShard(random: Random, picture: Uint8Array): Uint8Array {
  const pick = <T>(...items: readonly T[]): T => items[random.below(items.length)];
  const rows = pick(1, 3, 20);
  const every = <T>(cell: (row: number) => T) => Array.from({ length: rows }, (_, row) => cell(row));
  const encoded = () =>
    pick<Uint8Array | null>(picture, picture, picture, null, new Uint8Array(), noise(random));
  const struct = new Struct([
    new Field<DataType>('bytes', new Binary(), true),
    new Field<DataType>('path', new Utf8(), true),
  ]);
  const image = pick<() => Vector>(
    () =>
      vectorFromArray(
        every(() => ({ bytes: encoded(), path: pick(null, '../../etc/passwd', 'a.png', '\0') })),
        struct,
      ),
    () => vectorFromArray(every(encoded), new Binary()),
    () =>
      vectorFromArray(
        every(() => pick('a.png', '/etc/hostname', null)),
        new Utf8(),
      ),
    () => vectorFromArray(every(Number), new Int32()),
  );
  const whole = () => pick(0, 1, 2, -1, 2 ** 31 - 1, 7);
  const label = pick<() => Vector>(
    () => vectorFromArray(every(whole), new Int32()),
    () =>
      vectorFromArray(
        every(() => BigInt(pick(0, 1, 2, 2 ** 40, -1))),
        new Int64(),
      ),
    () => vectorFromArray(every(whole), new Int16()),
    () =>
      vectorFromArray(
        every(() => random.uniform()),
        new Float32(),
      ),
    () =>
      vectorFromArray(
        every(() => pick('ash', 'oak', '', null, '\u001b[2J', 'a\nb')),
        new Utf8(),
      ),
    () =>
      vectorFromArray(
        every(() => pick('ash', 'oak')),
        new Dictionary(new Utf8(), new Int32()),
      ),
    () =>
      vectorFromArray(
        every((row) => row > 1),
        new Bool(),
      ),
    () =>
      vectorFromArray(
        every((row) => [row]),
        new List(new Field('item', new Int32(), true)),
      ),
    () =>
      vectorFromArray(
        every((row) => new Date(row)),
        new DateMillisecond(),
      ),
  );
  const columns: Record<string, Vector> = { image: image(), label: label() };
  if (random.uniform() < 0.1) delete columns[pick('image', 'label')];
  return tableToIPC(new Table(columns), 'stream');
}

/** A sound shard of a Hugging Face data set, its labels indices or names. */
export function shardOf(
  images: readonly Uint8Array[],
  labels: readonly number[],
  isIndex: boolean,
): Uint8Array {
  const struct = new Struct([
    new Field<DataType>('bytes', new Binary(), true),
    new Field<DataType>('path', new Utf8(), true),
  ]);
  const image = vectorFromArray(
    images.map((bytes) => ({ bytes, path: null })),
    struct,
  );
  const label = isIndex
    ? vectorFromArray(labels.map(BigInt), new Int64())
    : vectorFromArray(
        labels.map((index) => `class ${index}`),
        new Utf8(),
      );
  return tableToIPC(new Table({ image, label }), 'stream');
}

/** A pipeline of options and values of which most belong there. */
export function anyPipeline(random: Random): Uint8Array {
  const pick = <T>(items: readonly T[]): T => items[random.below(items.length)];
  const odd = [-1, 0.5, 1e308, 'yes', '', [], [1, 'a'], {}, '\u001b[2J', '.nan', '0x10', '__proto__'];
  const value = (): unknown =>
    random.uniform() < 0.05
      ? pick<unknown>(odd)
      : pick<unknown>([1, 2, 16, 'none', null, true, [8, 16], 'x.yaml']);
  const section = (options: object) => {
    const keys = Object.keys(options);
    const some = Array.from({ length: 1 + random.below(2) }, () =>
      random.uniform() < 0.03 ? pick(['__proto__', 'toString', 'é', '\u001b[2J']) : pick(keys),
    );
    return Object.fromEntries(some.map((key) => [key, value()]));
  };
  const names = Array.from({ length: 1 + random.below(2) }, () => pick(stageNames));
  let text = stringify(Object.fromEntries(names.map((name) => [name, section(stageOptions[name])])));
  const marks = [': &a ', ': *a ', ': !!binary ', ': !!set ', ': !x '];
  if (random.uniform() < 0.1) text = text.replace(/: (?=\S)/, pick(marks));
  const ends = [
    '<<: *a\n',
    '? [a]\n: b\n',
    '---\nseed: 1\n',
    '\tseed: 1\n',
    'seed: 1\nseed: 2\n',
    '%YAML 9.9\n',
  ];
  if (random.uniform() < 0.1) text += pick(ends);
  return Buffer.from(text);
}

/** JSON of the shape of `subsets.json`, with numbers and words that do not belong there. */
export function anySubsets(random: Random): Uint8Array {
  const pick = <T>(...items: readonly T[]): T => items[random.below(items.length)];
  const label = () => pick<unknown>(0, 1, 2, 3, 4, 4, 3, 2, 5, -1, 0.5, '1', null, 2 ** 32 + 1, 1e308);
  const subset = () => ({
    id: pick<unknown>(0, 1, 2, 3, 4, 5, -1, '0', 2 ** 53),
    classes: pick<unknown>(Array.from({ length: random.below(4) }, label), [], 3, null),
    ...(random.uniform() < 0.1 && { [pick('weight', '__proto__', '\u001b[2J')]: 1 }),
  });
  const classes = pick<unknown>(5, 5, 5, 0, -5, 5.5, 2 ** 53, '5', null);
  return Buffer.from(JSON.stringify({ classes, subsets: Array.from({ length: random.below(4) }, subset) }));
}

/** Features and labels of six rows, as an Arrow file. */
export function featureTable(texts: Utf8 | Utf8View = new Utf8()): Uint8Array {
  const rows = Array.from({ length: 6 }, (_, row) => row);
  return tableToIPC(
    new Table({
      features: vectorFromArray(
        rows.map((row) => [row, 1, -row]),
        new FixedSizeList(3, new Field('item', new Float32(), true)),
      ),
      label: vectorFromArray(
        rows.map((row) => `${'the name of class '.repeat(row % 3)}c${row % 3}`), // short and long
        texts,
      ),
    }),
    'file',
  );
}

/** An animated PNG of one frame, twice. */
export function animatedPng(png: Uint8Array): Buffer {
  const control = Buffer.alloc(8);
  control.writeUInt32BE(2, 0); // frames
  const afterHeader = 8 + 25; // the signature and IHDR
  return Buffer.concat([
    Buffer.from(png).subarray(0, afterHeader),
    pngChunk('acTL', control),
    Buffer.from(png).subarray(afterHeader),
  ]);
}

function pngChunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const length = Buffer.alloc(4);
  const check = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}

function crc32(bytes: Uint8Array): number {
  let value = 0xffff_ffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb8_8320 : 0);
  }
  return (value ^ 0xffff_ffff) >>> 0;
}

function noise(random: Random): Uint8Array {
  return Uint8Array.from({ length: 1 + random.below(64) }, () => random.below(256));
}

/** An ONNX classifier of three named classes. */
export function tinyModel(): Uint8Array {
  return modelFile({
    nodes: [node('Flatten', ['image'], ['flat']), node('MatMul', ['flat', 'w'], ['logits'])],
    initializers: [floats('w', [48, 3], new Float32Array(144).fill(0.1))],
    outputs: ['logits'],
    metadata: { names: "{0: 'ash', 1: 'beech', 2: 'cedar'}" },
  });
}

/** The same model as `kd-spec patch` leaves it: what is fused, who takes part and what was measured, in metadata. */
export function patchedModel(): Uint8Array {
  const figures = { top1: 0.5, bystanders: null };
  const specialists = [{ id: 0, classes: [0, 2], correction: 0.5 }];
  return modelFile({
    nodes: [
      node('Flatten', ['image'], ['flat']),
      node('MatMul', ['flat', 'w'], ['logits']),
      node('Softmax', ['logits'], ['generalist']),
      node('Identity', ['generalist'], ['probabilities']),
    ],
    initializers: [floats('w', [48, 3], new Float32Array(144).fill(0.1))],
    outputs: ['probabilities', 'generalist'],
    outputShapes: { probabilities: ['batch', 3], generalist: ['batch', 3] },
    metadata: {
      names: "{0: 'ash', 1: 'beech', 2: 'cedar'}",
      [fusedOutputKey]: 'probabilities',
      [ensembleKey]: JSON.stringify({
        ...{ version: 1, generalist: 'generalist', rule: 'paper', exports: 1, specialists: 1 },
        imported: { logits: 'logits', blank: null, replaced: null },
        traces: [{ ids: 'generalist', probabilities: 'generalist', specialists }],
        patches: [{ specialists: 1, classes: 2, before: figures, after: figures }],
      }),
    },
  });
}

/** An ONNX classifier of images of any size, of three classes without names. */
export function namelessModel(): Uint8Array {
  return modelFile({
    input: ['batch', 3, 'height', 'width'],
    nodes: [
      node('GlobalAveragePool', ['image'], ['pooled']),
      node('Flatten', ['pooled'], ['flat']),
      node('MatMul', ['flat', 'w'], ['logits']),
    ],
    initializers: [floats('w', [3, 3], Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1))],
    outputs: ['logits'],
  });
}

/** The model of {@link tinyModel}, its weights in a file beside it. */
export function splitModel(location: string): { readonly model: Uint8Array; readonly weights: Uint8Array } {
  const tensors = [
    floats('before', [48, 4], new Float32Array(192).fill(0.1)),
    floats('w', [4, 3], new Float32Array(12).fill(0.1)),
  ];
  let end = 64;
  const outside = tensors.map((tensor) => {
    const { length } = tensor.rawData;
    const entries = { location, offset: String(end), length: String(length) };
    end += length;
    return create(TensorProtoSchema, {
      ...tensor,
      rawData: new Uint8Array(),
      dataLocation: TensorProto_DataLocation.EXTERNAL,
      externalData: Object.entries(entries).map(([key, value]) =>
        create(StringStringEntryProtoSchema, { key, value }),
      ),
    });
  });
  return {
    model: modelFile({
      nodes: [
        node('Flatten', ['image'], ['flat']),
        node('MatMul', ['flat', 'before'], ['features']),
        node('MatMul', ['features', 'w'], ['logits']),
      ],
      initializers: outside,
      outputs: ['logits'],
    }),
    weights: Buffer.concat([new Uint8Array(64), ...tensors.map(({ rawData }) => rawData)]),
  };
}

/** A `config.json` or `preprocessor_config.json` with numbers and words that do not belong there. */
export function anyModelConfig(random: Random): Uint8Array {
  const pick = <T>(...items: readonly T[]): T => items[random.below(items.length)];
  const number = () =>
    pick<unknown>(0.5, 0.25, 1, 16, 24, 16, 24, 1, 0, -1, 1e308, 1e-308, 2 ** 31, 1e9, 0.1, '8', null);
  const channels = () => Array.from({ length: pick(3, 3, 3, 1, 2, 0) }, number);
  const size = () =>
    pick<unknown>(
      number(),
      { height: number(), width: number() },
      { shortest_edge: number() },
      [3, number(), number()],
      Array.from({ length: random.below(4) }, number),
    );
  const name = () =>
    pick<unknown>('ash', 'oak', 'fir', 'elm', '', ' ', '\u001b[2J', 'a\nb', '\ud800', 3, null, ['n1', 'x']);
  const names = () =>
    pick<unknown>(
      Array.from({ length: pick(3, 3, 2, 4) }, name),
      Object.fromEntries(
        Array.from({ length: 3 }, (_, at) => [pick<string | number>(at, at, at + 1, -at, 'x'), name()]),
      ),
      { ash: 0, oak: pick<unknown>(1, '1', 2 ** 53), fir: pick<unknown>(2, 1, '2') },
      'ash, oak, fir',
    );
  const fields: Readonly<Record<string, () => unknown>> = {
    id2label: names,
    label_names: names,
    labels: names,
    pretrained_cfg: () => pick<unknown>({ mean: channels(), std: channels(), input_size: size() }, [], null),
    crop_size: size,
    size,
    image_mean: () => pick<unknown>(channels(), channels(), number()),
    image_std: () => pick<unknown>(channels(), channels(), number()),
    do_rescale: () => pick<unknown>(true, false, 'no', null),
    rescale_factor: number,
    do_normalize: () => pick<unknown>(true, false, null),
    ['__proto__']: () => ({ size: 16 }),
  };
  const chosen = Object.entries(fields).filter(
    ([key]) => random.uniform() < (/cfg|size/.test(key) ? 0.8 : 0.4),
  );
  return Buffer.from(JSON.stringify(Object.fromEntries(chosen.map(([key, value]) => [key, value()]))));
}

/** Class names in YAML, of which most are a list or a mapping of three. */
export function anyNames(random: Random): Uint8Array {
  const pick = <T>(...items: readonly T[]): T => items[random.below(items.length)];
  const word = () =>
    pick(
      'ash',
      'oak',
      'fir',
      'no',
      '1e3',
      '"a b"',
      "'it''s'",
      '~',
      '*a',
      '&a elm',
      '!!binary x',
      '[a]',
      '{b: c}',
      '|\n  two\n  lines',
      '"\\e[2J"',
      '? x',
    );
  const rows = Array.from({ length: pick(3, 3, 3, 2, 4) }, (_, at) => at);
  const list = () => rows.map(() => `- ${word()}`);
  const mapping = () =>
    rows.map((at) => `${pick<unknown>(at, at, at, at + 1, '<<', '? [a]', `"${at}"`)}: ${word()}`);
  const turned = () => rows.map((at) => `${word()}: ${at}`);
  const lines = pick(list, mapping, turned)();
  const isInside = random.uniform() < 0.5;
  const head = pick(
    'names:',
    'id2label:',
    'labels: &a',
    'nc: 3\nnames:',
    '%YAML 9.9\n---\nnames:',
    'names: !!set',
  );
  return Buffer.from(
    `${isInside ? [head, ...lines.map((line) => `  ${line}`)].join('\n') : lines.join('\n')}\n`,
  );
}

/** An IDX file of images, all of one grey. */
export function idxImages(count: number, size: number): Buffer {
  const header = Buffer.alloc(16);
  [0x0803, count, size, size].forEach((value, k) => {
    header.writeUInt32BE(value, 4 * k);
  });
  return Buffer.concat([header, Buffer.alloc(count * size * size, 7)]);
}

/** An IDX file of labels 0, 1, 2, 0, ... */
export function idxLabels(count: number): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(0x0801, 0);
  header.writeUInt32BE(count, 4);
  return Buffer.concat([header, Buffer.from(Array.from({ length: count }, (_, row) => row % 3))]);
}
