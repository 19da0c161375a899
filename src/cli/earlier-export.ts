import { open, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import { asFileError } from '../core/file-error.js';
import { decodeOnnxModel, readModelBytes } from '../models/onnx/model-file.js';

// An export may replace an earlier export, and nothing else: a file in its place may be all that somebody has of it.

/** What an export writes into a folder beside `model.onnx`, the file first that tells that kd-spec wrote the others. */
const folderFiles = {
  hf: ['config.json', 'preprocessor_config.json', 'README.md'],
  web: ['index.html', 'classify.js', 'model.json', 'ort.js', 'ort.wasm'],
} as const;

/** What stands in the file that tells. */
const marks = { hf: '"kd_spec_version"', web: '<script type="module" src="classify.js">' } as const;

const mostHeaderBytes = 100 * 1024 * 1024; // of safetensors

/**
 * Expects that what an export would write over is an export of kd-spec, or empty.
 *
 * @param path of the file, or of the folder
 * @param options.isExternal whether weights go to a second file, `<path>.data`
 * @throws KdSpecError `option-invalid` for any other file, also one of those that would be written into the folder
 */
export async function expectEarlierExport(
  path: string,
  {
    format,
    isExternal = false,
  }: {
    readonly format: 'onnx' | 'safetensors' | keyof typeof folderFiles;
    readonly isExternal?: boolean | undefined;
  },
): Promise<void> {
  if (format === 'onnx' || format === 'safetensors') {
    const isThere = await hasContent(path);
    if (isThere && !(await isExportedFile(path))) throw foreign(path);
    if (!isThere && isExternal && (await hasContent(`${path}.data`))) throw foreign(`${path}.data`);
    return;
  }
  const model = join(path, 'model.onnx');
  if ((await hasContent(model)) && !(await isExportedFile(model))) throw foreign(model);
  const found: string[] = [];
  for (const name of folderFiles[format]) if (await hasContent(join(path, name))) found.push(name);
  const [first] = found;
  if (first === undefined) return;
  const telling = folderFiles[format][0];
  const isOwn = first === telling && (await readFile(join(path, telling), 'utf8')).includes(marks[format]);
  if (!isOwn) throw foreign(join(path, first));
}

async function hasContent(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && !(found.isFile() && found.size === 0);
}

/** Whether a file is an ONNX model or weights in safetensors that kd-spec exported. */
async function isExportedFile(path: string): Promise<boolean> {
  const found = await stat(path);
  if (!found.isFile()) return false;
  try {
    return (await isExportedTensors(path)) || (await isExportedModel(path));
  } catch (error) {
    if (error instanceof KdSpecError && error.code === 'checkpoint-invalid') return false; // no model at all
    throw asFileError(error, path, 'the file to write over');
  }
}

/** By the header: checkpoints in a workspace are safetensors of kd-spec, too, and no exports. */
async function isExportedTensors(path: string): Promise<boolean> {
  await using file = await open(path);
  const { size } = await file.stat();
  const start = Buffer.alloc(8);
  await file.read(start, 0, 8, 0);
  const length = Number(start.readBigUInt64LE());
  if (length > Math.min(size - 8, mostHeaderBytes)) return false; // another format
  const header = Buffer.alloc(length);
  await file.read(header, 0, length, 8);
  return header.includes('"kd_spec_version"');
}

/** By its metadata; a model whose last layer alone was replaced has only the names of what was added. */
async function isExportedModel(path: string): Promise<boolean> {
  const { metadata, graph } = decodeOnnxModel(path, await readModelBytes(path), { anySize: true });
  const own = (name: string) => name.startsWith('kd_spec_');
  return [...metadata.keys()].some(own) || graph.initializer.some(({ name }) => own(name));
}

function foreign(path: string): KdSpecError {
  return new KdSpecError(
    'option-invalid',
    `--out: ${basename(path)} in ${dirname(path)} is no export of kd-spec, and would be written over: name another place, ` +
      'or move it away first',
  );
}
