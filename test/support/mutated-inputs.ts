import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Field, Float32, Int32, List, Table, tableToIPC, Utf8View, vectorFromArray } from 'apache-arrow';
import sharp from 'sharp';
import { readManifest } from '../../src/core/artefact.js';
import { artefactFolder, beginArtefact, commitArtefact } from '../../src/core/artefact-writer.js';
import { KdSpecError } from '../../src/core/errors.js';
import { createRandom, type Random } from '../../src/core/random.js';
import { terminalText } from '../../src/core/terminal-text.js';
import { readClassNames } from '../../src/data/class-names.js';
import { openDataset } from '../../src/data/dataset.js';
import { examples } from '../../src/data/examples.js';
import { encodePng, readImageFile } from '../../src/data/image-codec.js';
import { featuresSource } from '../../src/data/importers/features.js';
import { huggingFaceSource } from '../../src/data/importers/hugging-face.js';
import { idxSource } from '../../src/data/importers/idx.js';
import { imageFolderSource } from '../../src/data/importers/image-folder.js';
import { imageTableSource } from '../../src/data/importers/image-table.js';
import { parquetSource } from '../../src/data/importers/parquet.js';
import { webDatasetSource } from '../../src/data/importers/web-dataset.js';
import { readPredictions } from '../../src/data/predictions.js';
import type { DatasetSource } from '../../src/data/source.js';
import { writeDataset } from '../../src/data/write-dataset.js';
import { readEnsembleFile } from '../../src/ensemble/ensemble-file.js';
import { openExportedEnsemble } from '../../src/ensemble/export/exported-ensemble.js';
import { readSubsets } from '../../src/ensemble/subsets/subsets-file.js';
import { findClassNames } from '../../src/models/onnx/class-names.js';
import { wholeModel } from '../../src/models/onnx/constants.js';
import { findImageInput, possibleReadings } from '../../src/models/onnx/image-input.js';
import { describeOnnx } from '../../src/models/onnx/import-onnx.js';
import { decodeOnnxModel, readOnnxModel } from '../../src/models/onnx/model-file.js';
import { feedSchema, type OnnxImageInput, toModelInput } from '../../src/models/onnx/reading.js';
import { readSafetensors, writeSafetensors } from '../../src/models/safetensors.js';
import { readPipelineFile } from '../../src/pipeline/pipeline-file.js';
import { hubParquet, listParquet } from './hub-parquet.js';
import {
  animatedPng,
  anyModelConfig,
  anyNames,
  anyPipeline,
  anyPredictions,
  anyShard,
  anySubsets,
  bitmap,
  featureTable,
  idxImages,
  idxLabels,
  namelessModel,
  patchedModel,
  shardOf,
  splitModel,
  tinyModel,
} from './made-inputs.js';
import { npy, npz } from './numpy-arrays.js';
import { noHints } from './onnx-models.js';
import { packedTables } from './packed-by-python.js';
import { tarArchive } from './tar-archive.js';

/** A kind of file that users bring: one that is sound, where it lies, and what reads it. */
export interface InputKind {
  readonly name: string;
  readonly path: string;
  readonly sound: Uint8Array;
  readonly read: () => Promise<unknown>;
  /** Makes another file of this kind, instead of changing bytes of the sound one. */
  readonly make?: (random: Random) => Uint8Array;
}

/** What became of the mutations of one kind. */
export interface FuzzOutcome {
  readonly runs: number;
  readonly refused: number;
  /** Runs that ended in anything but a result or a `KdSpecError`, or took too long. */
  readonly defects: readonly { readonly run: number; readonly what: string }[];
  readonly slowestMs: number;
}

const slowMs = 20_000; // a hang, on however busy a machine

/** Makes one sound file of each kind in a folder. */
export async function inputKinds(folder: string): Promise<InputKind[]> {
  const kinds: InputKind[] = [];
  const at = (...parts: string[]) => join(folder, ...parts);
  const add = async (
    name: string,
    path: string,
    sound: Uint8Array | string,
    read: () => Promise<unknown>,
    make?: InputKind['make'],
  ) => {
    const bytes = typeof sound === 'string' ? Buffer.from(sound) : sound;
    await writeFile(path, bytes);
    kinds.push({ name, path, sound: bytes, read, ...(make && { make }) });
  };

  const predictions = new Table({
    indices: vectorFromArray(
      Array.from({ length: 40 }, (_, row) => [row % 9, 9 + (row % 5)]),
      new List(new Field('item', new Int32(), true)),
    ),
    probabilities: vectorFromArray(
      Array.from({ length: 40 }, () => [0.6, 0.3]),
      new List(new Field('item', new Float32(), true)),
    ),
    label: vectorFromArray(
      Array.from({ length: 40 }, (_, row) => row % 9),
      new Int32(),
    ),
  });
  const readRows = async (path: string) => {
    for await (const _ of (await readPredictions(path)).rows());
  };
  for (const format of ['stream', 'file'] as const) {
    const path = at(`predictions-${format}.arrow`);
    await add(`Arrow predictions, ${format} format`, path, tableToIPC(predictions, format), () =>
      readRows(path),
    );
  }

  const typed = at('predictions-typed.arrow');
  const readTyped = () => readRows(typed);
  await add(
    'Arrow predictions of any types',
    typed,
    tableToIPC(predictions, 'file'),
    readTyped,
    anyPredictions,
  );

  const tensors = at('weights.safetensors');
  await writeSafetensors(
    tensors,
    new Map([
      ['head/kernel', { shape: [4, 5], values: new Float32Array(20).fill(0.5) }],
      ['classes', { shape: [7], values: new Int32Array(7) }],
    ]),
  );
  await addExisting('safetensors', tensors, () => readSafetensors(tensors));

  const pixels = Buffer.from(Uint8Array.from({ length: 24 * 20 * 3 }, (_, k) => (k * 37) % 251));
  const picture = () => sharp(pixels, { raw: { width: 24, height: 20, channels: 3 } });
  const animation = () => sharp(pixels, { raw: { width: 24, height: 20, channels: 3, pageHeight: 10 } });
  const shape = { height: 16, width: 16, channels: 1 } as const;
  const encoded = {
    png: await picture().png().toBuffer(),
    jpeg: await picture().jpeg().toBuffer(),
    webp: await picture().webp().toBuffer(),
    gif: await picture().gif().toBuffer(),
    tiff: await picture().tiff().toBuffer(),
    avif: await picture().avif({ effort: 0 }).toBuffer(),
    bmp: bitmap(24, 20),
    svg: Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="24" height="20"><circle cx="9" cy="9" r="7"/></svg>',
    ),
    'animated.gif': await animation().gif().toBuffer(),
    'animated.webp': await animation().webp().toBuffer(),
    'animated.png': animatedPng(await picture().png().toBuffer()),
    'pages.tiff': await animation().tiff().toBuffer(),
    'cmyk.jpeg': await picture().toColourspace('cmyk').jpeg({ progressive: true }).toBuffer(),
    'deep.png': await picture().toColourspace('rgb16').png().toBuffer(),
    'small.png': Buffer.from(await encodePng(new Uint8Array(256).fill(9), shape)),
  };
  for (const [format, bytes] of Object.entries(encoded)) {
    const path = at(`image.${format}`);
    await add(format.toUpperCase(), path, bytes, () => readImageFile(path, shape));
  }

  const folderOfImages = at('images');
  for (const name of ['a', 'b']) {
    await mkdir(join(folderOfImages, name), { recursive: true });
    for (let k = 0; k < 3; k++) await writeFile(join(folderOfImages, name, `${k}.png`), encoded['small.png']);
  }
  await add('an image of a folder', join(folderOfImages, 'a', '0.png'), encoded['small.png'], async () =>
    drain(await imageFolderSource(folderOfImages, { imageSize: 16, seed: 1 })),
  );

  for (const suffix of ['', '.gz']) {
    const directory = at(`idx${suffix}`);
    await mkdir(directory);
    const pack = (bytes: Uint8Array) => (suffix === '' ? bytes : gzipSync(bytes));
    for (const part of ['train', 't10k']) {
      await writeFile(join(directory, `${part}-images-idx3-ubyte${suffix}`), pack(idxImages(12, 6)));
      await writeFile(join(directory, `${part}-labels-idx1-ubyte${suffix}`), pack(idxLabels(12)));
    }
    const read = async () => drain(await idxSource(directory, { seed: 1 }));
    const images = join(directory, `train-images-idx3-ubyte${suffix}`);
    const labels = join(directory, `t10k-labels-idx1-ubyte${suffix}`);
    await add(`IDX images${suffix}`, images, pack(idxImages(12, 6)), read);
    await add(`IDX labels${suffix}`, labels, pack(idxLabels(12)), read);
  }

  const rows = Array.from({ length: 6 }, (_, row) => row); // enough for two of a class, and little to decode
  const table = at('table');
  await mkdir(table);
  for (const row of rows) await writeFile(join(table, `${row}.png`), encoded['small.png']);
  const cells = rows.map((row) => [`${row}.png`, `c${row % 3}`, 'train']);
  const header = ['file_name', 'label', 'split'];
  const tables = {
    csv: [header, ...cells].map((row) => row.map((cell) => `"${cell}"`).join(',')),
    tsv: [header, ...cells].map((row) => row.join('\t')),
    jsonl: cells.map(([file_name, label, split]) => JSON.stringify({ file_name, label, split, k: 1 })),
  };
  for (const [ending, lines] of Object.entries(tables)) {
    const list = join(table, `list.${ending}`);
    await add(`${ending.toUpperCase()} of paths and labels`, list, `${lines.join('\n')}\n`, async () =>
      drain(await imageTableSource(list, { imageSize: 16, seed: 1 })),
    );
  }
  const shard = at('shard.tar');
  const samples = rows.flatMap((row) => [
    { name: `${row}.png`, content: encoded['small.png'] },
    { name: `${row}.cls`, content: String(row % 3) },
  ]);
  await add('WebDataset tar', shard, tarArchive(samples), async () =>
    drain(await webDatasetSource(shard, { imageSize: 16, seed: 1 })),
  );
  const packed = at('shard.tar.gz');
  await add('WebDataset tar.gz', packed, gzipSync(tarArchive(samples)), async () =>
    drain(await webDatasetSource(packed, { imageSize: 16, seed: 1 })),
  );
  for (const codec of ['SNAPPY', 'UNCOMPRESSED', 'LZ4_RAW', 'ZSTD'] as const) {
    const path = at(`hub-${codec}.parquet`);
    const labels = rows.map((row) => row % 3);
    const vendors = rows.map((row) => `v${row}`);
    const names = ['a', 'b', 'c'];
    const images = rows.map(() => encoded['small.png']);
    await add(`Parquet, ${codec}`, path, hubParquet(images, { labels, names, vendors, codec }), async () =>
      drain(await parquetSource(path, { imageSize: 16, seed: 1 })),
    );
  }
  const arrays = {
    features: npy(
      Float32Array.from({ length: 18 }, (_, at) => at),
      [6, 3],
    ),
    logits: npy(
      Float32Array.from({ length: 18 }, (_, at) => at % 5),
      [6, 3],
    ),
    label: npy(
      Int32Array.from(rows, (row) => row % 3),
      [6],
    ),
  };
  for (const isPacked of [false, true]) {
    const path = at(`features-${isPacked ? 'packed' : 'stored'}.npz`);
    await add(
      `NumPy features, ${isPacked ? 'packed' : 'stored'}`,
      path,
      npz(arrays, { isPacked }),
      async () => drain(await featuresSource(path, { imageSize: 16, seed: 1 })),
    );
  }
  const { logits: scores, label: rightOnes } = arrays;
  const predicted = at('predictions.npz');
  await add('NumPy predictions', predicted, npz({ logits: scores, label: rightOnes }), () =>
    readRows(predicted),
  );
  const labels = rows.map((row) => row % 3);
  const numbers = { type: 'FLOAT', rows: rows.map((row) => [row, 1, -row]) } as const;
  const indices = { type: 'INT32', rows: rows.map((row) => [row % 5, 5 + row]) } as const;
  const probabilities = { type: 'FLOAT', rows: rows.map(() => [0.5, 0.25]) } as const;
  const embedding = at('features.parquet');
  const features = listParquet({ features: numbers, logits: numbers }, labels);
  await add('Parquet features', embedding, features, async () =>
    drain(await featuresSource(embedding, { imageSize: 16, seed: 1 })),
  );
  for (const [name, columns] of Object.entries({
    'Parquet predictions': { indices, probabilities },
    'Parquet predictions of all classes': { logits: numbers },
  })) {
    const path = at(`${name}.parquet`);
    await add(name, path, listParquet(columns, labels), () => readRows(path));
  }

  const single = at('arrays');
  await mkdir(single);
  await writeFile(join(single, 'labels.npy'), arrays.label);
  for (const [name, bytes] of Object.entries({ features: arrays.features, labels: arrays.label })) {
    const path = join(single, `${name}.npy`);
    await add(`NumPy array of ${name}`, path, bytes, async () =>
      drain(await featuresSource(join(single, 'features.npy'), { imageSize: 16, seed: 1 })),
    );
  }
  const embedded = at('embedded.arrow');
  await add('Arrow features', embedded, featureTable(), async () =>
    drain(await featuresSource(embedded, { imageSize: 16, seed: 1 })),
  );
  for (const [name, bytes] of Object.entries(packedTables)) {
    const path = at(`packed by ${name}.arrow`);
    await add(`Arrow features, packed by ${name}`, path, bytes, async () =>
      drain(await featuresSource(path, { imageSize: 16, seed: 1 })),
    );
  }
  const viewed = at('viewed.arrow');
  await add('Arrow features, texts as views', viewed, featureTable(new Utf8View()), async () =>
    drain(await featuresSource(viewed, { imageSize: 16, seed: 1 })),
  );

  const dataset = at('dataset');
  await writeDataset(dataset, await imageFolderSource(folderOfImages, { imageSize: 16, seed: 1 }));
  const readOurs = async () => {
    for await (const _ of examples((await openDataset(dataset)).splits.train, { shuffleSeed: [1] }));
  };
  await addExisting('a shard of ours', join(dataset, 'train', 'data-00000-of-00001.arrow'), readOurs);
  await addExisting('kd-spec.json', join(dataset, 'kd-spec.json'), readOurs);
  const readTheirs = async () => drain(await huggingFaceSource(dataset, { imageSize: 16, seed: 1 }));
  await addExisting(
    'a shard of save_to_disk',
    join(dataset, 'train', 'data-00000-of-00001.arrow'),
    readTheirs,
  );
  for (const name of ['dataset_dict.json', 'train/state.json', 'train/dataset_info.json']) {
    await addExisting(name, join(dataset, name), readTheirs);
  }

  for (const [name, type] of Object.entries({
    ClassLabel: { names: ['ash', 'oak'], _type: 'ClassLabel' },
    'texts as labels': { dtype: 'string', _type: 'Value' },
  })) {
    const directory = at(`theirs-${name}`);
    await cp(dataset, directory, { recursive: true });
    const info = { features: { image: { _type: 'Image' }, label: type } };
    for (const part of ['train', 'validation', 'test'])
      await writeFile(join(directory, part, 'dataset_info.json'), JSON.stringify(info));
    await writeFile(join(directory, 'dataset_dict.json'), '{ "splits": ["train"] }');
    const path = join(directory, 'train', 'data-00000-of-00001.arrow');
    const read = async () =>
      drain(await huggingFaceSource(directory, { imageSize: 16, seed: 1, onError: 'skip' }));
    const labels = rows.map((row) => row % 2);
    const images = rows.map(() => encoded['small.png']);
    const sound = shardOf(images, labels, name === 'ClassLabel');
    await add(`a Hugging Face shard of any types, ${name}`, path, sound, read, (random) =>
      anyShard(random, encoded['small.png']),
    );
  }

  const yaml = at('pipeline.yaml');
  await add(
    'YAML pipeline',
    yaml,
    'seed: 3\ndataset:\n  source: jft-like\n  classes: 60\n  labelNoise: 0.1\ngeneralist:\n' +
      '  network: { convolutions: [8, 16], dense: [32] }\n  epochs: 2\nsubsets:\n  clusters: 3\n',
    () => readPipelineFile(yaml),
  );
  const anyYaml = at('any.yaml');
  await add('YAML pipeline of any words', anyYaml, 'seed: 3\n', () => readPipelineFile(anyYaml), anyPipeline);
  const ensemble = at('ensemble');
  await mkdir(ensemble);
  await add(
    'ensemble.json',
    join(ensemble, 'ensemble.json'),
    '{ "routingTop": 1, "routingMass": null, "rule": "paper", "generalistTemperature": 1.2, "specialists": ' +
      '[{ "id": 0, "temperature": 1, "weight": 1, "kept": true }, { "id": 1, "temperature": 1.5, "weight": 2, "kept": false }] }',
    () => readEnsembleFile(ensemble),
  );
  const artefact = await commitEmpty(at('workspace'));
  await addExisting('manifest.json', join(artefact, 'manifest.json'), () => readManifest(artefact));
  const names = at('classes.txt');
  await add('classes.txt', names, 'ash\nbeech\ncedar\n', () =>
    readClassNames(names, { expected: 3, code: 'dataset-invalid', advice: 'write it again' }),
  );
  const model = at('model.onnx');
  await add('ONNX', model, tinyModel(), () => readOnnxModel(model));
  const imported = at('imported.onnx');
  await add('ONNX, looked into for import', imported, tinyModel(), () => describeOnnx(imported, noHints));
  const patched = at('patched.onnx');
  await add('ONNX, patched', patched, patchedModel(), async () => {
    const ensemble = await openExportedEnsemble(await readFile(patched), { path: patched });
    ensemble.dispose();
  });

  const configs = {
    'config.json': {
      id2label: { 0: 'ash', 1: 'oak', 2: 'fir' },
      pretrained_cfg: { mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.5], input_size: [3, 12, 16] },
    },
    'preprocessor_config.json': {
      ...{ do_rescale: true, rescale_factor: 0.00392156862745098, do_normalize: true },
      ...{ image_mean: [0.5, 0.4, 0.3], image_std: [0.2, 0.3, 0.5], crop_size: { height: 12, width: 16 } },
    },
  };
  for (const [name, config] of Object.entries(configs)) {
    const directory = at(`model-with-${name}`);
    await mkdir(directory);
    const model = join(directory, 'model.onnx');
    const decoded = decodeOnnxModel(model, namelessModel());
    const sound = Buffer.from(JSON.stringify(config));
    await add(
      `${name} beside a model`,
      join(directory, name),
      sound,
      async () => {
        feed(await findImageInput(decoded));
        await findClassNames(decoded, 3, { isSequence: false });
      },
      (random) => (random.uniform() < 0.5 ? mutate(sound, random) : anyModelConfig(random)),
    );
  }
  const nameless = decodeOnnxModel(at('nameless.onnx'), namelessModel());
  const lists = {
    json: { text: '{ "names": { "0": "ash", "1": "oak", "2": "fir" } }', make: anyModelConfig },
    txt: { text: 'ash\noak\nfir\n', make: undefined },
    yaml: { text: 'nc: 3\nnames:\n  0: ash\n  1: oak\n  2: fir\n', make: anyNames },
  };
  for (const [ending, { text, make }] of Object.entries(lists)) {
    const labels = at(`labels.${ending}`);
    await add(
      `class names of a model, ${ending}`,
      labels,
      text,
      () => findClassNames(nameless, 3, { isSequence: false, labels }),
      make && ((random) => (random.uniform() < 0.5 ? mutate(Buffer.from(text), random) : make(random))),
    );
  }
  const split = at('split');
  await mkdir(split);
  const pointing = join(split, 'model.onnx');
  const weights = join(split, 'weights.bin');
  const parts = splitModel('weights.bin');
  await writeFile(weights, parts.weights);
  const readSplit = async () => wholeModel((await describeOnnx(pointing, noHints)).model);
  await add('ONNX, its weights in another file', pointing, parts.model, readSplit);
  await add('weights of an ONNX model in a file of their own', weights, parts.weights, readSplit);
  const subsets = at('subsets.json');
  await add(
    'subsets.json',
    subsets,
    '{ "classes": 5, "subsets": [{ "id": 0, "classes": [0, 3] }, { "id": 1, "classes": [1, 2, 4] }] }',
    () => readSubsets(subsets),
  );
  const anyJson = at('any-subsets.json');
  await add(
    'subsets.json of any values',
    anyJson,
    '{ "classes": 1, "subsets": [{ "id": 0, "classes": [0] }] }',
    () => readSubsets(anyJson),
    anySubsets,
  );
  return kinds;

  async function addExisting(name: string, path: string, read: () => Promise<unknown>) {
    kinds.push({ name, path, sound: await readFile(path), read });
  }
}

/** Reads a kind of file after each of many mutations; run n of a seed is always the same. */
export async function fuzz(
  { name, path, sound, read, make }: InputKind,
  {
    runs,
    seed,
    first = 0,
    begins = () => {},
  }: {
    readonly runs: number;
    readonly seed: number;
    readonly first?: number;
    /** Called before each run. */
    readonly begins?: (run: number) => void;
  },
): Promise<FuzzOutcome> {
  await read(); // what is sound is read
  const folder = dirname(path);
  const before = await readdir(folder, { recursive: true });
  const defects: { run: number; what: string }[] = [];
  let refused = 0;
  let slowestMs = 0;
  for (let run = first; run < first + runs; run++) {
    begins(run);
    const random = createRandom(seed, 'fuzz', name, run);
    await writeFile(path, make ? make(random) : mutate(sound, random));
    const started = performance.now();
    try {
      await read();
    } catch (error) {
      const isClear = error instanceof KdSpecError && error.message.length > 20;
      if (isClear && isQuiet(terminalText(error.message))) refused++;
      else
        defects.push({ run, what: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
    const elapsedMs = performance.now() - started;
    slowestMs = Math.max(slowestMs, elapsedMs);
    if (elapsedMs > slowMs) defects.push({ run, what: `it took ${elapsedMs.toFixed(0)} ms` });
  }
  await writeFile(path, sound);
  const after = await readdir(folder, { recursive: true });
  const added = after.filter((entry) => !before.includes(entry));
  if (added.length > 0)
    defects.push({ run: first, what: `files that reading left behind: ${added.join(', ')}` });
  return { runs, refused, defects, slowestMs };
}

/** One to four changes of a file's bytes, of the kinds that disks, networks and hands make. */
function mutate(sound: Uint8Array, random: Random): Uint8Array {
  let bytes = Buffer.from(sound);
  const place = () => {
    const length = random.uniform() < 0.5 ? Math.min(64, bytes.length) : bytes.length; // headers more often
    return random.below(Math.max(1, length));
  };
  const noise = (length: number) => Buffer.from(Array.from({ length }, () => random.below(256)));
  const splice = (start: number, cut: number, put: Uint8Array) => {
    bytes = Buffer.concat([bytes.subarray(0, start), put, bytes.subarray(start + cut)]);
  };
  const extremes = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x4000_0000, 0x0001_0000];
  const changes = random.uniform() < 0.5 ? 1 : 2 + random.below(3);
  for (let change = 0; change < changes; change++) {
    const start = place();
    switch (random.below(8)) {
      case 0:
        bytes = bytes.subarray(0, start);
        break;
      case 1:
        if (start < bytes.length) bytes[start] ^= 1 << random.below(8);
        break;
      case 2:
        splice(start, 1 + random.below(16), new Uint8Array(0));
        break;
      case 3:
        splice(start, 0, noise(1 + random.below(16)));
        break;
      case 4:
        splice(start, 4, noise(4));
        break;
      case 5: {
        const word = Buffer.alloc(4);
        const value = extremes[random.below(extremes.length)];
        if (random.uniform() < 0.5) word.writeUInt32LE(value);
        else word.writeUInt32BE(value);
        splice(start - (start % 4), 4, word);
        break;
      }
      case 6:
        splice(start, 0, bytes.subarray(start, start + random.below(256)));
        break;
      default: {
        const digits = ['-1', '1e308', '99999999999999999999', '0', 'null', '""', '[]', '{}', '\0', '\u2028'];
        splice(start, random.below(3), Buffer.from(digits[random.below(digits.length)]));
      }
    }
  }
  return bytes;
}

/** Whether a terminal only shows a text: no control but line ends and tabs. */
function isQuiet(text: string): boolean {
  return !/\p{Cc}/u.test(text.replaceAll(/[\n\t]/g, ''));
}

/** A finished artefact of one file. */
async function commitEmpty(workspace: string): Promise<string> {
  const identity = { parameters: {}, inputs: {}, seed: 1 };
  const { directory } = await beginArtefact(workspace, 'subsets', identity, { resume: false });
  await writeFile(join(directory, 'a.txt'), 'x');
  await commitArtefact(workspace, {
    stage: 'subsets',
    kdSpecVersion: '0.1.0',
    parameters: {},
    seed: 1,
    backend: null,
    inputs: {},
    metrics: { count: 3 },
    startedAt: '2026-01-01T00:00:00.000Z',
    finishedAt: '2026-01-01T00:00:01.000Z',
    seconds: 1,
  });
  return artefactFolder(workspace, 'subsets');
}

async function drain(source: DatasetSource): Promise<void> {
  for (const split of ['train', 'validation', 'test'] as const) for await (const _ of source.images(split));
  source.report?.();
}

/** Feeds images to a model in every way that is open, and writes down how. */
function feed(input: OnnxImageInput): void {
  const { height, width, channels } = input.image;
  const images = new Float32Array(2 * height * width * channels).fill(0.5);
  for (const reading of possibleReadings(input)) {
    toModelInput(input, reading, images, 2);
    const { declared: _, notes: _notes, warnings: _warnings, batch = null, ...form } = input;
    feedSchema.parse(JSON.parse(JSON.stringify({ ...form, batch, reading })));
  }
}
