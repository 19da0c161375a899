import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { KdSpecError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import { classNameFile, classNameIn } from '../class-folder.js';
import {
  compareCodePoints,
  describeForeign,
  type FolderEntry,
  folderEntries,
  imagesBelow,
  isImageFile,
} from '../image-files.js';
import { ImportFindings } from '../import-report.js';
import { type DatasetSource, type SplitName, splitNames } from '../source.js';
import { findSplits, splitOfName } from '../split-names.js';
import { decodeImages } from './decode-images.js';
import { divideTrain, Numbering, noteCaseTwins } from './divided-rows.js';
import { pathGroup, reportGroups } from './group-key.js';
import { type Importer, type ImportOptions, importChoices, importOptions } from './importer.js';
import { isTextTable } from './text-table.js';

interface ImageFile {
  readonly image: string;
  readonly label: number;
}

const wrapperLimit = 16; // folders that each hold one folder

/**
 * Imports images in folders, by torchvision's convention: each folder is a class, sorted by name.
 *
 * Either the classes stand directly in `directory` and are divided by seed, class by class, or they stand in folders
 * for the parts, such as `train/`, `val/` and `test/` (see {@link splitOfName}); a part that is not there, or has no
 * images, is set aside from `train`. A folder that holds nothing but another folder is entered. Below a class, folders
 * are searched too. Names are compared in Unicode's composed form (NFC); one that no folder can have stands in the file
 * `.class-name` of its folder. Classes without an image are left out.
 *
 * @param directory the folder
 * @param options.imageSize height and width of the result, in pixels
 * @param options.channels 1 for grey, 3 for colour
 * @param options.seed names the division and the order
 * @returns a source for `writeDataset`; its `report` says what was left out
 * @throws KdSpecError `not-found`, `dataset-invalid`, `option-invalid`
 * Cost: holds the paths, not the images.
 *
 * @example
 * const source = await imageFolderSource('photos', { imageSize: 32, seed: 1 });
 */
export async function imageFolderSource(directory: string, options: ImportOptions): Promise<DatasetSource> {
  const { image, validationFraction, testFraction, onError, seed } = importChoices(options);
  const findings = new ImportFindings();
  const layout = await findLayout(directory, findings);
  const classes = await readTrain(layout, findings);
  if (classes.length === 0) {
    throw new KdSpecError(
      'dataset-invalid',
      `expected images in the class folders of ${layout.folders.train}, found ${findings.mostLeftOut()}`,
    );
  }
  const names = classes.map(({ name }) => name);
  const train = classes.flatMap(({ files }, label) => files.map((path) => ({ image: path, label })));
  const own: Partial<Record<SplitName, readonly ImageFile[]>> = {};
  for (const part of ['validation', 'test'] as const) {
    const folder = layout.folders[part];
    const files = folder === undefined ? [] : await readPart(folder, part, names, findings);
    if (files.length > 0) own[part] = files;
    else if (folder !== undefined)
      findings.note(`a part without labelled images: ${part} is set aside from train`, folder);
  }
  const assigned = divideTrain(
    Int32Array.from(train, ({ label }) => label),
    { validation: own.validation ? 0 : validationFraction, test: own.test ? 0 : testFraction },
    {
      seed,
      groups:
        options.group === undefined
          ? undefined
          : groupsOf({ train, ...own }, layout.folders, options.group, findings),
      findings,
      place: directory,
    },
  );
  const divided = (split: SplitName) => train.filter((_, index) => splitNames[assigned[index]] === split);
  const files = {
    train: divided('train'),
    validation: own.validation ?? divided('validation'),
    test: own.test ?? divided('test'),
  };
  return {
    description: `Images of the folder ${basename(directory)}`,
    classes: names,
    image,
    augmentation: { kind: 'shift', pixels: 2 },
    count: (split) => files[split].length,
    images: (split) =>
      decodeImages(createRandom(seed, 'order', split).shuffle([...files[split]]), image, findings),
    report: () => findings.report(onError),
  };
}

/**
 * The group of each image of `train`, by its path below the folder of the classes.
 *
 * Groups that stand in several parts are told.
 */
function groupsOf(
  files: Readonly<Partial<Record<SplitName, readonly ImageFile[]>>>,
  folders: Layout['folders'],
  group: string,
  findings: ImportFindings,
): Int32Array {
  const groupOf = pathGroup(group, 'a folder of class folders');
  const names = new Numbering();
  const parts = new Map<SplitName, Int32Array>();
  let example: string | undefined; // of an image without a group
  for (const part of splitNames) {
    const folder = folders[part] ?? folders.train;
    const groups = Int32Array.from(files[part] ?? [], ({ image }) => {
      const path = relative(folder, image).split(sep).join('/');
      const name = groupOf(path);
      if (name !== undefined && name !== '') return names.numberOf(name);
      example ??= path;
      return -1;
    });
    parts.set(part, groups);
  }
  reportGroups(parts, { group, names: names.texts, unit: 'images', example: example ?? '', findings });
  return parts.get('train') ?? new Int32Array(0);
}

/** Any folder; the last importer to be tried. */
export const imageFolder: Importer = {
  recognises: async (source) => (await stat(source)).isDirectory(),
  open: (source, options) => imageFolderSource(source, importOptions(options)),
};

/** Where the parts of a data set lie. */
interface Layout {
  readonly root: string;
  /** `train` is the root itself where there are no parts. */
  readonly folders: { readonly train: string } & Partial<Record<SplitName, string>>;
}

async function findLayout(directory: string, findings: ImportFindings): Promise<Layout> {
  let root = directory;
  for (let depth = 0; depth < wrapperLimit; depth++) {
    const { folders, images } = await contents(root, findings);
    const [only, ...others] = folders;
    const isWrapper =
      only !== undefined &&
      others.length === 0 &&
      images.length === 0 &&
      splitOfName(only.name) === undefined &&
      (await contents(only.path, new ImportFindings())).folders.length > 0;
    if (!isWrapper) {
      countLoose(images, folders, findings);
      return { root, folders: await partsOf(root, folders, findings) };
    }
    findings.note('a folder that holds nothing but a folder was entered', root);
    root = only.path;
  }
  throw new KdSpecError(
    'dataset-invalid',
    `${directory}: folders within folders, ${wrapperLimit} deep and each alone: name the one that holds the classes`,
  );
}

/** Images directly in a folder of class folders have no class. */
function countLoose(
  images: readonly string[],
  folders: readonly FolderEntry[],
  findings: ImportFindings,
): void {
  if (images.length === 0) return;
  const what =
    folders.length > 0
      ? 'images beside class folders, of no class'
      : 'images of a part that has no class folders, so that they have no labels';
  findings.leaveOut(what, images[0], images.length);
}

async function partsOf(
  root: string,
  folders: readonly FolderEntry[],
  findings: ImportFindings,
): Promise<Layout['folders']> {
  if (folders.length === 0) {
    const tables = (await readdir(root).catch(() => [])).filter(isTextTable);
    const advice =
      tables.length > 0
        ? `: if ${tables[0]} lists paths and labels, name it (--source ${join(root, tables[0])})`
        : '';
    throw new KdSpecError(
      'dataset-invalid',
      `expected a folder for each class in ${root}, found none${advice}`,
    );
  }
  const trainFolder = folders.find(({ name }) => splitOfName(name) === 'train');
  if (!trainFolder) {
    const areParts = folders.every(({ name }) => splitOfName(name) !== undefined);
    if (!areParts) return { train: root };
    throw new KdSpecError(
      'dataset-invalid',
      `${root}: expected a folder train beside ${folders.map(({ name }) => name).join(', ')}: ` +
        'rename one, or name the folder that holds the classes',
    );
  }
  const others = folders.filter(({ name }) => splitOfName(name) === undefined);
  const isOnlyPart = others.length === folders.length - 1;
  const train = await contents(trainFolder.path, new ImportFindings());
  if (others.length > 0 && train.images.length > 0) {
    // A class of the name train among others, of which one may be called test, too.
    if (isOnlyPart || (train.folders.length === 0 && (await someHoldImages(others)))) return { train: root };
  }
  if (others.length > 0 && isOnlyPart) {
    throw new KdSpecError(
      'dataset-invalid',
      `${root}: ${trainFolder.name} holds folders, and ${others.length} other folders stand beside it, such as ` +
        `${others[0].name}: is it a part or a class? Name ${trainFolder.path} if it holds the classes, else rename it`,
    );
  }
  if (train.folders.length === 0) {
    throw new KdSpecError(
      'dataset-invalid',
      `expected a folder for each class in ${trainFolder.path}, found ${train.images.length} images and no folder: ` +
        'put the images of each class into a folder of its name',
    );
  }
  for (const { path } of others) findings.leaveOut('folders beside train that are no part', path);
  const found = findSplits(
    folders.map(({ name }) => name),
    root,
  );
  const at = (name: string) => join(root, name);
  return {
    train: trainFolder.path,
    ...(found.validation && { validation: at(found.validation) }),
    ...(found.test && { test: at(found.test) }),
  };
}

async function someHoldImages(folders: readonly FolderEntry[]): Promise<boolean> {
  for (const { path } of folders) {
    if ((await contents(path, new ImportFindings())).images.length > 0) return true;
  }
  return false;
}

/** The folders and the images directly in a folder. */
async function contents(
  directory: string,
  findings: ImportFindings,
): Promise<{ readonly folders: readonly FolderEntry[]; readonly images: readonly string[] }> {
  const entries = await folderEntries(directory, findings);
  const images: string[] = [];
  for (const { path, isFolder } of entries) {
    if (isFolder) continue;
    if (await isImageFile(path)) images.push(path);
    else findings.leaveOut(describeForeign(path), path);
  }
  return { folders: entries.filter(({ isFolder }) => isFolder), images };
}

interface ClassFiles {
  readonly name: string;
  readonly files: readonly string[];
}

/** The classes of the training part that have images, in the order of their names. */
async function readTrain(
  { root, folders }: Layout,
  findings: ImportFindings,
): Promise<readonly ClassFiles[]> {
  const classes = await classFolders(folders.train, findings, { isCounted: folders.train === root });
  const withImages: ClassFiles[] = [];
  let nested = 0;
  let direct = 0;
  let deepExample = '';
  for (const { name, files, deep } of classes) {
    if (files.length === 0) {
      findings.leaveOut('classes without an image that can be read', join(folders.train, name));
      continue;
    }
    nested += deep.length;
    direct += files.length - deep.length;
    deepExample ||= deep[0] ?? '';
    withImages.push({ name, files });
  }
  noteCaseTwins(
    withImages.map(({ name }) => name),
    findings,
  );
  if (nested > 0) {
    const what =
      direct === 0
        ? 'images of classes that hold folders alone: if those are the classes, name the folder that holds them'
        : 'images in folders below a class, taken for that class';
    findings.note(what, deepExample, nested);
  }
  return withImages;
}

/** The labelled images of another part. */
async function readPart(
  directory: string,
  part: SplitName,
  classes: readonly string[],
  findings: ImportFindings,
): Promise<readonly ImageFile[]> {
  const found = await classFolders(directory, findings);
  const labels = new Map(classes.map((name, label) => [name, label]));
  const foldedLabels = new Map<string, number | undefined>();
  for (const [label, name] of classes.entries()) {
    const folded = name.toLowerCase();
    foldedLabels.set(folded, foldedLabels.has(folded) ? undefined : label);
  }
  const images: ImageFile[] = [];
  const unknown: string[] = [];
  for (const { name, files } of found) {
    if (files.length === 0) continue;
    const exact = labels.get(name);
    const label = exact ?? foldedLabels.get(name.toLowerCase());
    if (label === undefined) {
      unknown.push(name);
      continue;
    }
    if (exact === undefined)
      findings.note(
        'folders whose class has another case of letters in train',
        `${name}, for ${classes[label]}`,
      );
    for (const path of files) images.push({ image: path, label });
  }
  if (unknown.length === 0) return images;
  throw new KdSpecError(
    'dataset-invalid',
    `${directory}: expected only classes that have images in train, found ${unknown.length} others in the ${part} part, ` +
      `such as ${unknown[0]}: add training images, or rename or remove the folder`,
  );
}

interface ClassFolder extends ClassFiles {
  /** Of `files`, those that lie in folders below the class. */
  readonly deep: readonly string[];
}

/**
 * The class folders of a part with their images; the two Unicode forms of one name are one class.
 *
 * @param options.isCounted whether `findings` knows already what lies directly in the folder
 */
async function classFolders(
  directory: string,
  findings: ImportFindings,
  { isCounted = false }: { readonly isCounted?: boolean } = {},
): Promise<readonly ClassFolder[]> {
  const { folders, images } = await contents(directory, isCounted ? new ImportFindings() : findings);
  if (!isCounted) countLoose(images, folders, findings);

  const ownerOf = new Map<string, string>(); // real path of a class folder to its class
  const realPaths: string[] = [];
  for (const { name, path } of folders) {
    const real = await realpath(path);
    realPaths.push(real);
    if (ownerOf.has(real))
      findings.leaveOut('class folders that are links to the folder of another class', path);
    else ownerOf.set(real, name);
  }
  // Links that lead back up, or into another class, would give images a second label.
  const visited = new Set([await realpath(directory), ...realPaths]);
  const classes = new Map<
    string,
    { readonly files: string[]; readonly deep: string[]; readonly first: string }
  >();
  for (const [index, { name, path }] of folders.entries()) {
    if (ownerOf.get(realPaths[index]) !== name) continue;
    const named = await classNameIn(path);
    const composed = (named ?? name).normalize('NFC');
    if (named !== undefined)
      findings.note(`classes named by the file ${classNameFile} of their folder`, path);
    const { files, deep, first } = classes.get(composed) ?? { files: [], deep: [], first: name };
    if (named === undefined && classes.has(composed)) {
      findings.warn(
        'folders whose names are two Unicode forms of one name, taken for one class',
        `${path}: ${escaped(first)} and ${escaped(name)}`,
      );
    }
    classes.set(composed, { files, deep, first });
    visited.delete(realPaths[index]);
    for await (const image of imagesBelow(path, { findings, visited })) {
      files.push(image.path);
      if (image.depth > 0) deep.push(image.path);
    }
  }
  return [...classes]
    .sort(([a], [b]) => compareCodePoints(a, b))
    .map(([name, { files, deep }]) => ({ name, files, deep }));
}

/** A name whose letters beyond ASCII are escaped: two names that look the same do not then. */
function escaped(name: string): string {
  const text = name.replace(
    /[^ -~]/g,
    (unit) => `\\u${(unit.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  );
  return `"${text}"`;
}
