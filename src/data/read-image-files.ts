import { readImageFile } from './image-codec.js';
import type { ImageShape } from './source.js';

/**
 * Reads images that a person named, as a network takes them.
 *
 * @param images paths of image files, or the bytes of some
 * @returns (images, height, width, channels), 0 to 1
 * @throws KdSpecError of the first that cannot be read; see {@link readImageFile}
 */
export async function readImageFiles(
  images: readonly (string | Uint8Array)[],
  shape: ImageShape,
): Promise<Float32Array> {
  const size = shape.height * shape.width * shape.channels;
  const batch = new Float32Array(images.length * size);
  await Promise.all(
    images.map(async (image, index) => {
      const pixels = await readImageFile(image, shape);
      for (let at = 0; at < size; at++) batch[index * size + at] = pixels[at] / 255;
    }),
  );
  return batch;
}
