import { stat } from 'node:fs/promises';
import sharp from 'sharp';
import { listImages } from './image-files.js';
import type { Sides } from './source.js';

const mostLooked = 200;

/**
 * The sizes of some images of a folder, evenly spaced in the order of their names, as their files announce them.
 *
 * @param source a folder; of anything else nothing is known without decoding it
 * @returns without those that announce none
 * Cost: a listing of the folder, and the headers of at most 400 files.
 */
export async function imageSizes(source: string): Promise<readonly Sides[]> {
  const info = await stat(source).catch(() => undefined);
  if (!info?.isDirectory()) return [];
  const paths = await listImages(source).catch(() => []);
  const step = Math.max(1, Math.floor(paths.length / mostLooked));
  const sizes: Sides[] = [];
  for (let index = 0; index < paths.length; index += step) {
    const found = await sharp(paths[index])
      .metadata()
      .catch(() => undefined);
    if (found?.width && found.height) sizes.push({ height: found.height, width: found.width });
  }
  return sizes;
}

/** The size that all of these images have; undefined where they have several, or none is known. */
export async function commonSize(source: string): Promise<Sides | undefined> {
  const [first, ...others] = await imageSizes(source);
  return others.every(({ height, width }) => height === first.height && width === first.width)
    ? first
    : undefined;
}
