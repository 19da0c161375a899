import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProtoSchema,
} from 'onnx-buf';
import { writeFileAtomically } from '../../core/atomic-file.js';
import { asFileError } from '../../core/file-error.js';
import { makeFolder } from '../../core/make-folder.js';
import { isLarge } from './model-file.js';

/** Where external data begin: runtimes map them into memory by pages. */
const alignment = 4096;
/** Smaller tensors stay in the model: shapes among them have to. */
const leastExternal = 1024;

/**
 * Writes a model; one over 2 GB, or any where that is wanted, with its weights in a second file, `<file>.data`.
 *
 * Each file is written beside its place and renamed into it, the model last.
 *
 * @returns the paths that were written, and their bytes together
 * @throws KdSpecError `not-readable`, `disk-full`
 */
export async function writeOnnxModel(
  path: string,
  model: ModelProto,
  { isExternal = false }: { readonly isExternal?: boolean } = {},
): Promise<{ readonly files: readonly string[]; readonly bytes: number }> {
  const initializers = model.graph?.initializer ?? [];
  const data = `${path}.data`;
  const partial = `${data}.${process.pid}.partial`;
  const isSplit = isExternal || (model.graph !== undefined && isLarge(model.graph));
  try {
    await makeFolder(dirname(path));
    const split = isSplit ? await writeData(partial, basename(data), initializers) : undefined;
    const graph =
      model.graph &&
      create(GraphProtoSchema, { ...model.graph, initializer: split?.tensors ?? initializers });
    const bytes = toBinary(ModelProtoSchema, create(ModelProtoSchema, { ...model, ...(graph && { graph }) }));
    if (split) await rename(partial, data);
    await writeFileAtomically(path, bytes);
    return { files: split ? [path, data] : [path], bytes: bytes.length + (split?.bytes ?? 0) };
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {});
    throw asFileError(error, path, 'the model');
  }
}

/** Writes the raw data of tensors one behind the other, and returns the tensors that point to them. */
async function writeData(path: string, location: string, initializers: readonly TensorProto[]) {
  await using file = await open(path, 'w');
  const tensors: TensorProto[] = [];
  let offset = 0;
  for (const tensor of initializers) {
    const { rawData } = tensor;
    if (rawData.length < leastExternal) {
      tensors.push(tensor);
      continue;
    }
    offset = Math.ceil(offset / alignment) * alignment;
    for (let start = 0; start < rawData.length; ) {
      const { bytesWritten } = await file.write(
        rawData,
        start,
        Math.min(2 ** 30, rawData.length - start),
        offset + start,
      );
      start += bytesWritten;
    }
    const entries = { location, offset: String(offset), length: String(rawData.length) };
    tensors.push(
      create(TensorProtoSchema, {
        ...tensor,
        rawData: new Uint8Array(),
        dataLocation: TensorProto_DataLocation.EXTERNAL,
        externalData: Object.entries(entries).map(([key, value]) =>
          create(StringStringEntryProtoSchema, { key, value }),
        ),
      }),
    );
    offset += rawData.length;
  }
  return { tensors, bytes: offset };
}
