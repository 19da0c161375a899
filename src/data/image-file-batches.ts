import { KdSpecError } from '../core/errors.js';
import { floatsOf } from './batches.js';
import { readImageFile } from './image-codec.js';
import type { ImageShape } from './source.js';

/**
 * Reads images that a person named, in batches, as a network takes them.
 *
 * @param files paths of image files, or the bytes of some; where networks take features, the bytes of rows of float32
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
        if (of.isFeatures) {
          images.set(featuresGiven(file, of), index * size);
          return;
        }
        const pixels = await readImageFile(file, of);
        for (let at = 0; at < size; at++) images[index * size + at] = pixels[at] / 255;
      }),
    );
    yield { images, count: batch.length };
  }
}

function featuresGiven(file: string | Uint8Array, of: ImageShape): Float32Array {
  if (typeof file !== 'string') return floatsOf(file, of, 'the row');
  throw new KdSpecError(
    'image-shape',
    `${file}: expected rows of ${of.width} numbers, since the networks take features and no images: give the bytes of each ` +
      'row as float32, or a file of rows to kd-spec infer',
  );
}
