import { create, type Font } from 'fontkit';
import { KdSpecError } from '../../core/errors.js';

/**
 * Parses a font; of a collection, its first face, which is the one that the canvas draws.
 *
 * @throws KdSpecError `font-unusable` when the bytes are not a font
 */
export function openFont(bytes: Buffer, path: string): Font {
  try {
    const font = create(bytes);
    if (!('fonts' in font)) return font;
    const [first] = font.fonts;
    if (first !== undefined) return first;
  } catch (cause) {
    throw unreadable(path, cause);
  }
  throw unreadable(path);
}

function unreadable(path: string, cause?: unknown): KdSpecError {
  const reason = cause instanceof Error ? ` (${cause.message})` : '';
  return new KdSpecError(
    'font-unusable',
    `expected a TrueType, OpenType or WOFF font, but ${path} cannot be read as one${reason}: ` +
      `replace the file, or take it out of the font list`,
    { cause },
  );
}
