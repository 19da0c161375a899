import { readImageFile } from './image-codec.js';
import type { ImageShape } from './source.js';

/**
 * Reads images that a person named, in batches, as a network takes them.
 *
 * @param files paths of image files, or the bytes of some
 * @returns batches of images (batch, height, width, channels), 0 to 1
 * @throws KdSpecError of the first that cannot be read; see {@link readImageFile}
 */
export async function* imageFileBatches(
  files: readonly (string | Uint8Array)[],
  of: ImageShape,
  batchSize: number,
) {
  const { height, width, channels } = of;
  const size = height * width * channels;
  for (let first = 0; first < files.length; first += batchSize) {
    const batch = files.slice(first, first + batchSize);
    const images = new Float32Array(batch.length * size);
    await Promise.all(
      batch.map(async (file, index) => {
        const pixels = await readImageFile(file, of);
        for (let at = 0; at < size; at++) images[index * size + at] = pixels[at] / 255;
      }),
    );
    yield { images, count: batch.length };
  }
}
