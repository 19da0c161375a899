import type { plot } from '@observablehq/plot';
import { parseHTML } from 'linkedom';

/** A document for `Plot.plot` to draw in. */
export const plotDocument = () => parseHTML('<!doctype html><html><body></body></html>').document;

/** What `Plot.plot` drew, as the text of one SVG element, moved down by some pixels. */
export function drawnPicture(drawn: ReturnType<typeof plot>, down?: number): string {
  const picture = drawn.tagName.toLowerCase() === 'svg' ? drawn : drawn.querySelector('svg');
  if (down !== undefined) picture?.setAttribute('y', String(down));
  return String(picture?.outerHTML);
}

/** A file of one SVG picture, white behind what was drawn. */
export function svgFile(
  title: string,
  [width, height]: readonly [number, number],
  drawn: readonly string[],
): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<title>${title}</title>`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...drawn,
    '</svg>\n',
  ].join('\n');
}

/**
 * Heights for names beside what they name, from the top; one that would stand on another moves down.
 *
 * @param line the height of a line, in the unit of `height`
 */
export function labelHeights<Named extends { readonly name: string; readonly height: number }>(
  named: readonly Named[],
  line: number,
): readonly { readonly name: string; readonly height: number }[] {
  let above = Number.POSITIVE_INFINITY;
  return named
    .toSorted((a, b) => b.height - a.height)
    .map(({ name, height }) => {
      above = Math.min(height, above - line);
      return { name, height: above };
    });
}
