import { mkdirSync } from 'node:fs';
import { type FileHandle, open, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { imageBatches } from '../../../src/data/batches.js';
import { openDataset } from '../../../src/data/dataset.js';

/**
 * Writes a data set as plain numbers for other programs: `SPLIT.u8` (images, height, width, channels), `SPLIT.i32` the
 * labels, and `images.json` with `classes`, `height` and `width`.
 */
export async function writeImages(dataset: string, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const { splits, image, classes } = await openDataset(dataset);
  for (const [name, split] of Object.entries(splits)) {
    await using images = await opened(join(folder, `${name}.u8`));
    await using labels = await opened(join(folder, `${name}.i32`));
    for await (const batch of imageBatches(split, image, { batchSize: 4096 })) {
      await images.file.write(Uint8Array.from(batch.images, (value) => Math.round(255 * value)));
      await labels.file.write(
        new Uint8Array(batch.labels.buffer, batch.labels.byteOffset, batch.labels.byteLength),
      );
    }
  }
  const partial = join(folder, 'images.json.part');
  const { height, width } = image;
  await writeFile(partial, JSON.stringify({ classes: classes.length, height, width }));
  await rename(partial, join(folder, 'images.json')); // last: an interrupted copy is made again
}

async function opened(path: string): Promise<{ file: FileHandle } & AsyncDisposable> {
  const file = await open(path, 'w');
  return { file, [Symbol.asyncDispose]: () => file.close() };
}
