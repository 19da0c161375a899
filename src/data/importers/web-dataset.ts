import { basename } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import type { ImportFindings } from '../import-report.js';
import type { DatasetSource, SplitName } from '../source.js';
import type { EncodedImage } from './decode-images.js';
import { type DividedRows, rowsOfSplit } from './divided-rows.js';
import type { GroupKey } from './group-key.js';
import { type Importer, importOptions, type TableOptions, tableOptions } from './importer.js';
import { labelledImages } from './labelled-images.js';
import { filesByPart, holdsFiles } from './part-files.js';
import { isGzip, readEntry, tarEntries } from './tar.js';
import { cellsOfJson } from './text-table.js';

/** A sample of an archive: its image, where it lies, and what was said of it. */
interface Sample {
  readonly key: string;
  readonly image: { readonly offsetBytes: number; readonly sizeBytes: number } | undefined;
  readonly label: string | undefined;
  readonly group: string | undefined;
}

/** Where the images of an archive lie, in its order. */
interface IndexedArchive {
  readonly path: string;
  readonly isPacked: boolean;
  readonly keys: string[];
  readonly offsets: number[];
  readonly sizes: number[];
}

/** Where the label of a sample stands, and which file is its image where it has several. */
interface Reading {
  /** The ending of a file that is the label, or a key of its JSON file. */
  readonly label: { readonly ending: string } | { readonly json: string };
  readonly image: string | undefined;
}

const archiveNames = /\.(tar|tar\.gz|tgz)$/i;
const imageEndings = /(^|\.)(png|jpe?g|webp|gif|tiff?|avif|bmp|ppm)$/;
const jsonLabels = ['label', 'cls', 'class', 'class_name', 'category', 'target'];
const labelLimitBytes = 2 ** 20; // of what is said of a sample
const packedBytes = 64 * 2 ** 20; // of images of a compressed archive that are shuffled together

/**
 * Imports WebDataset shards: tar archives, plain or compressed by gzip, in which files of one name and several endings
 * are a sample, such as `000017.jpg` and `000017.cls`.
 *
 * The label is the file `.cls`, or `label` or another of the usual names in `.json`, or the file `.txt`; `labelColumn`
 * names another ending or key, `imageColumn` the ending of the image where a sample has several. Parts are found in the
 * names of archives and folders, as in `train-000000.tar`.
 *
 * @param source an archive, or a folder of archives and folders of them
 * @returns a source for `writeDataset`; its `report` says what was left out
 * @throws KdSpecError `not-found`, `dataset-invalid`, `option-invalid`, `shard-truncated`, `shard-corrupt`
 * Cost: one pass over the archives, which passes over the images; holds key and place of each image. Images of plain
 * archives are drawn in any order; those of compressed ones in the order of the archive, and shuffled 64 MiB at a time.
 */
export function webDatasetSource(source: string, options: TableOptions): Promise<DatasetSource> {
  return labelledImages(
    source,
    options,
    `WebDataset ${basename(source)}`,
    async ({ rows, group, findings, seed }) => {
      const archives = new Map<SplitName, IndexedArchive[]>();
      let reading: Reading | undefined;
      for (const [part, paths] of await filesByPart(source, archiveNames, 'tar archives', findings)) {
        const ofPart: IndexedArchive[] = [];
        archives.set(part, ofPart);
        for (const path of paths) {
          reading ??= await chooseReading(path, options);
          const archive = {
            path,
            isPacked: await isGzip(path),
            keys: [],
            offsets: [],
            sizes: [],
          } satisfies IndexedArchive;
          await indexArchive(archive, reading, group, findings, ({ label, group: of }) =>
            rows.add(part, label, of),
          );
          ofPart.push(archive);
        }
      }
      return (divided, split) => storedImages(divided, archives, split, seed);
    },
  );
}

/** An archive, or a folder that holds some, or folders of some. */
export const webDataset: Importer = {
  recognises: (source) => holdsFiles(source, archiveNames),
  open: (source, options) =>
    webDatasetSource(source, { ...importOptions(options), ...tableOptions(options) }),
};

/** Of the first sample that has an image: what its other files say. */
async function chooseReading(path: string, options: TableOptions): Promise<Reading> {
  const endings: string[] = [];
  let key: string | undefined;
  let json: ReadonlyMap<string, string> = new Map();
  for await (const entry of tarEntries(path)) {
    const name = splitName(entry.name);
    if (name === undefined) continue;
    if (key !== undefined && name.key !== key) {
      if (endings.some((ending) => imageEndings.test(ending))) break;
      endings.length = 0;
    }
    key = name.key;
    endings.push(name.ending);
    if (name.ending === 'json') json = jsonOf(await textOf(entry, path), `${path}: ${entry.name}`);
  }
  const images = endings.filter((ending) => imageEndings.test(ending));
  const found = `found ${endings.map((ending) => `.${ending}`).join(', ') || 'nothing'} of the sample ${key ?? ''}`;
  const invalid = (what: string) => new KdSpecError('dataset-invalid', `${path}: ${what}`);
  const { imageColumn, labelColumn } = options;
  if (imageColumn === undefined && images.length !== 1) {
    throw invalid(
      `expected one image a sample, ${found}: ${images.length > 1 ? 'choose one with --image-column' : 'check it'}`,
    );
  }
  const ending = imageColumn?.replace(/^\./, '').toLowerCase();
  if (ending !== undefined && !endings.includes(ending))
    throw invalid(`expected an image .${ending}, ${found}`);
  const image = ending ?? (images.length > 1 ? images[0] : undefined);
  if (labelColumn !== undefined) {
    const wanted = labelColumn.replace(/^\./, '').toLowerCase();
    if (endings.includes(wanted) && wanted !== 'json') return { image, label: { ending: wanted } };
    if (json.has(labelColumn)) return { image, label: { json: labelColumn } };
    throw invalid(
      `expected --label-column to name the ending of a file or a key of .json (${[...json.keys()].join(', ') || 'none'}), ` +
        `${found}`,
    );
  }
  if (endings.includes('cls')) return { image, label: { ending: 'cls' } };
  const usual = jsonLabels.filter((name) => json.has(name));
  if (usual.length === 1) return { image, label: { json: usual[0] } };
  if (usual.length === 0 && endings.includes('txt')) return { image, label: { ending: 'txt' } };
  throw invalid(
    `expected the label of an image in .cls, in .json or in .txt, ${found}` +
      (json.size > 0
        ? `, with the keys ${[...json.keys()].join(', ')} in .json: choose one with --label-column`
        : endings.length > images.length
          ? ': if one of these is the label, name its ending with --label-column'
          : ': if its folders are the classes, unpack it; files of one sample stand one after the other'),
  );
}

/** Finds the samples of an archive: files one after the other that have one key. */
async function indexArchive(
  archive: IndexedArchive,
  reading: Reading,
  group: GroupKey | undefined,
  findings: ImportFindings,
  take: (sample: Sample) => void,
): Promise<void> {
  const { path, keys, offsets, sizes } = archive;
  let key: string | undefined;
  let image: Sample['image'];
  let label: string | undefined;
  let json: ReadonlyMap<string, string> = new Map();
  const finish = () => {
    if (key === undefined) return;
    const place = `${path}: ${key}`;
    if (image === undefined) findings.leaveOut('samples without an image', place);
    else {
      keys.push(key);
      offsets.push(image.offsetBytes);
      sizes.push(image.sizeBytes);
      const said = 'json' in reading.label ? json.get(reading.label.json) : label;
      const of = group?.kind === 'column' ? json.get(group.name) : group?.groupOf(key);
      take({ key, image, label: said, group: of });
    }
    image = undefined;
    label = undefined;
    json = new Map();
  };
  const needsJson = 'json' in reading.label || group?.kind === 'column';
  for await (const entry of tarEntries(path)) {
    const name = splitName(entry.name);
    if (name === undefined) {
      findings.leaveOut('hidden files, and files without an ending', `${path}: ${entry.name}`);
      continue;
    }
    if (name.key !== key) finish();
    key = name.key;
    const { ending } = name;
    if (reading.image === undefined ? imageEndings.test(ending) : ending === reading.image) {
      if (image !== undefined) findings.leaveOut('more images of one sample', `${path}: ${entry.name}`);
      else image = { offsetBytes: entry.offsetBytes, sizeBytes: entry.sizeBytes };
    } else if ('ending' in reading.label && ending === reading.label.ending)
      label = await textOf(entry, path);
    else if (ending === 'json' && needsJson)
      json = jsonOf(await textOf(entry, path), `${path}: ${entry.name}`);
  }
  finish();
}

/** The key of a sample and the ending that tells its files apart: a name up to its first dot, and the rest. */
function splitName(name: string): { readonly key: string; readonly ending: string } | undefined {
  const file = basename(name);
  const dot = file.indexOf('.');
  if (dot <= 0 || name.includes('__MACOSX/')) return undefined;
  const folder = name.slice(0, name.length - file.length);
  return { key: folder + file.slice(0, dot), ending: file.slice(dot + 1).toLowerCase() };
}

async function textOf(
  entry: { readonly name: string; readonly sizeBytes: number; content(): Promise<Uint8Array> },
  path: string,
): Promise<string> {
  if (entry.sizeBytes > labelLimitBytes) {
    throw new KdSpecError(
      'dataset-invalid',
      `${path}: expected a label of at most ${labelLimitBytes} bytes in ${entry.name}, found ${entry.sizeBytes}`,
    );
  }
  return Buffer.from(await entry.content())
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .trim();
}

function jsonOf(text: string, place: string): ReadonlyMap<string, string> {
  try {
    return cellsOfJson(JSON.parse(text));
  } catch (cause) {
    throw new KdSpecError(
      'dataset-invalid',
      `${place}: expected a JSON object, found ${JSON.stringify(text.slice(0, 80))}`,
      {
        cause,
      },
    );
  }
}

/** The images of a split in a shuffled order. */
async function* storedImages(
  divided: DividedRows,
  archives: ReadonlyMap<SplitName, readonly IndexedArchive[]>,
  split: SplitName,
  seed: number,
): AsyncGenerator<EncodedImage> {
  const { part, rows } = rowsOfSplit(divided, split);
  const ofPart = archives.get(part) ?? [];
  const labels = divided.labels.get(part) ?? new Int32Array(0);
  const random = createRandom(seed, 'order', split);
  const firsts: number[] = [];
  let first = 0;
  for (const { keys } of ofPart) {
    firsts.push(first);
    first += keys.length;
  }
  const nameOf = ({ path, keys }: IndexedArchive, place: number) => `${path}: ${keys[place]}`;
  if (!ofPart.some(({ isPacked }) => isPacked)) {
    for (const row of random.shuffle(rows)) {
      const which = firsts.findLastIndex((start) => start <= row);
      const archive = ofPart[which];
      const place = row - firsts[which];
      const bytes = await readEntry(archive.path, archive.offsets[place], archive.sizes[place]);
      yield { image: { bytes, name: nameOf(archive, place) }, label: labels[row] };
    }
    return;
  }
  const isIn = new Set(rows);
  for (const which of random.shuffle(Array.from(ofPart.keys()))) {
    const archive = ofPart[which];
    const places = new Map(archive.offsets.map((offset, place) => [offset, place]));
    let held: EncodedImage[] = [];
    let bytes = 0;
    for await (const entry of tarEntries(archive.path)) {
      const place = places.get(entry.offsetBytes);
      if (place === undefined || !isIn.has(firsts[which] + place)) continue;
      const image = { bytes: await entry.content(), name: nameOf(archive, place) };
      held.push({ image, label: labels[firsts[which] + place] });
      bytes += entry.sizeBytes;
      if (bytes < packedBytes) continue;
      yield* random.shuffle(held);
      held = [];
      bytes = 0;
    }
    yield* random.shuffle(held);
  }
}
