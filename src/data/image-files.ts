import { open, readdir, realpath, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { classNameFile } from './class-folder.js';
import { ImportFindings } from './import-report.js';

/** A file or folder as it was found; links are followed. */
export interface FolderEntry {
  readonly name: string;
  readonly path: string;
  readonly isFolder: boolean;
}

/** Endings of the names of images that {@link decodeImage} decodes. */
export const imageNames = /\.(png|apng|jpe?g|jpe|jfif|webp|gif|tiff?|avif|bmp|dib|svg)$/i;
/** And of images that it does not. */
const foreignImageNames =
  /\.(heic|heif|jxl|jp2|j2k|jpx|psd|xcf|tga|exr|hdr|ico|icns|p[bgnp]m|raw|cr[23]|nef|arw|dng|orf|rw2|raf|eps|pdf|ai)$/i;
/** What operating systems and their programs leave in folders. */
const systemNames =
  /^(\..*|thumbs\.db|ehthumbs\.db|desktop\.ini|__macosx|@eadir|icon\r|\$recycle\.bin|system volume information|lost\+found)$/i;

/** Hidden files that kd-spec writes itself, or reads elsewhere. */
const ownNames: ReadonlySet<string> = new Set([classNameFile, '.corrections.jsonl']);

/**
 * The entries of a folder, by name in the order of code points (as Python sorts, whatever the language of the machine).
 *
 * Links are followed. Hidden and system files, links that lead nowhere, and what is neither file nor folder are left
 * out and counted.
 *
 * @throws KdSpecError `not-found`, `not-readable`
 */
export async function folderEntries(
  directory: string,
  findings: ImportFindings,
  expected = 'a folder of class folders',
): Promise<readonly FolderEntry[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    throw asFileError(error, directory, expected);
  });
  const found: FolderEntry[] = [];
  for (const entry of entries.sort((a, b) => compareCodePoints(a.name, b.name))) {
    const path = join(directory, entry.name);
    if (systemNames.test(entry.name)) {
      if (!ownNames.has(entry.name)) findings.leaveOut('hidden and system files', path);
      continue;
    }
    const isLink = entry.isSymbolicLink();
    const isBroken = entry.name.includes('\ufffd'); // what bytes that are not UTF-8 become
    const info = isLink || isBroken ? await stat(path).catch(() => undefined) : entry;
    if (!info) findings.leaveOut(isLink ? 'links that lead nowhere' : 'names that are not UTF-8', path);
    else if (info.isDirectory()) found.push({ name: entry.name, path, isFolder: true });
    else if (info.isFile()) found.push({ name: entry.name, path, isFolder: false });
    else findings.leaveOut('neither files nor folders', path);
  }
  return found;
}

/** Compares texts as their UTF-8 bytes: by code points. */
export function compareCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/**
 * The images of a folder and of all folders below it.
 *
 * A file counts as an image by the ending of its name, or, when the ending says nothing, by its first bytes. Every
 * folder is looked at once, whatever links lead to it; what is left out is counted.
 *
 * @param options.visited real paths of folders that are not to be entered again
 * @returns paths, in the order of names, with how deep below the folder each lies: 0 directly in it
 * Cost: a read of a few bytes for each file whose name does not tell.
 */
export async function* imagesBelow(
  directory: string,
  {
    findings,
    visited = new Set<string>(),
    depth = 0,
    expected,
  }: {
    readonly findings: ImportFindings;
    readonly visited?: Set<string>;
    readonly depth?: number;
    readonly expected?: string;
  },
): AsyncGenerator<{ readonly path: string; readonly depth: number }> {
  const real = await realpath(directory).catch((error: unknown) => {
    throw asFileError(error, directory, expected);
  });
  if (visited.has(real)) {
    findings.leaveOut('links to a folder that is taken already, or that lies above', directory);
    return;
  }
  visited.add(real);
  for (const { path, isFolder } of await folderEntries(directory, findings, expected)) {
    if (isFolder) yield* imagesBelow(path, { findings, visited, depth: depth + 1 });
    else if (await isImageFile(path)) yield { path, depth };
    else findings.leaveOut(describeForeign(path), path);
  }
}

/**
 * The paths of all images of a folder and of the folders below it, in the order of code points.
 *
 * @throws KdSpecError `not-found`, also when there is none, with what was found instead
 */
export async function listImages(folder: string): Promise<readonly string[]> {
  const findings = new ImportFindings();
  const paths: string[] = [];
  for await (const { path } of imagesBelow(folder, { findings, expected: 'a folder of images' }))
    paths.push(path);
  if (paths.length > 0) return paths.sort(compareCodePoints);
  throw new KdSpecError(
    'not-found',
    `expected images in ${folder}, found ${findings.mostLeftOut()}: name another folder`,
  );
}

/** Whether the ending of a file's name is that of an image that can be decoded. */
export function hasImageName(path: string): boolean {
  return imageNames.test(path);
}

/** Whether a file is taken for an image: by its name, or by its first bytes where the name says nothing. */
export async function isImageFile(path: string): Promise<boolean> {
  if (hasImageName(path)) return true;
  if (foreignImageNames.test(path)) return false;
  const head = await firstBytes(path, 16).catch(() => undefined);
  return head !== undefined && isImageHead(head);
}

/** What a file is that is not taken for an image. */
export function describeForeign(path: string): string {
  const ending = extname(path).toLowerCase();
  if (/^\.(parquet|arrow|feather|csv|tsv|jsonl)$/.test(ending))
    return `tables (${ending}) beside images: name one with --source if it is the data set`;
  if (/^\.(zip|tar|tgz|gz|7z|rar)$/.test(ending))
    return `archives (${ending}): unpack them, or name their folder with --source if they are WebDataset shards`;
  if (foreignImageNames.test(path)) return `images of a format that cannot be read (${ending}): convert them`;
  return ending === '' ? 'files that are no images' : `files that are no images (${ending})`;
}

/** Whether bytes begin as PNG, JPEG, GIF, WebP, TIFF, AVIF or BMP files do. */
export function isImageHead(head: Uint8Array): boolean {
  const text = Buffer.from(head).toString('latin1');
  return (
    text.startsWith('\x89PNG\r\n\x1a\n') ||
    text.startsWith('\xff\xd8\xff') ||
    /^GIF8[79]a/.test(text) ||
    /^RIFF....WEBP/s.test(text) ||
    /^(II\*\0|MM\0\*|II\+\0|MM\0\+)/.test(text) ||
    /^....ftypavi[fs]/s.test(text) ||
    /^BM....\0\0\0\0/s.test(text)
  );
}

async function firstBytes(path: string, length: number): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(length), 0, length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
