import type { ImageShape } from '../data/source.js';

/** Two pixels stand in each character, one above the other: `▀` in the colour of the upper on that of the lower. */
const upperHalf = '▀';
const reset = '\u001b[0m';
/** Without colour: by whether the upper (1) and the lower pixel (2) are drawn. */
const halves = [' ', '▀', '▄', '█'];

/**
 * Draws an image in a terminal, a character for two pixels.
 *
 * @param pixels (height, width, channels), 0 to 255
 * @param options.color in the 256 colours that terminals have; without it, pixels
 *   that are unlike most of the border, brighter or darker, are drawn and the others left blank
 * @param options.columns the most columns; a wider image is averaged over squares of pixels
 * @returns a line for each two rows of pixels
 */
export function drawImage(
  pixels: Uint8Array,
  shape: ImageShape,
  { color = false, columns = 32 }: { readonly color?: boolean; readonly columns?: number } = {},
): readonly string[] {
  const image = shrink(pixels, shape, Math.ceil(shape.width / columns));
  const rows = Array.from({ length: Math.ceil(image.height / 2) }, (_, row) => 2 * row);
  const places = Array.from({ length: image.width }, (_, x) => x);
  if (color) {
    return rows.map((y) => {
      const cells = places.map((x) => {
        const lower = image.at(y + 1, x);
        const background = lower === undefined ? '' : `\u001b[48;5;${terminalColour(lower)}m`;
        return `\u001b[38;5;${terminalColour(image.at(y, x) ?? [])}m${background}${upperHalf}`;
      });
      return cells.join('') + reset;
    });
  }
  const isDrawn = inkOf(image);
  return rows.map((y) =>
    places.map((x) => halves[Number(isDrawn(y, x)) + 2 * Number(isDrawn(y + 1, x))]).join(''),
  );
}

interface SmallImage {
  readonly height: number;
  readonly width: number;
  /** (channels), 0 to 255; undefined below the last row. */
  at(y: number, x: number): readonly number[] | undefined;
}

/** Means of squares of pixels; those at the right and lower edges may be smaller. */
function shrink(pixels: Uint8Array, { height, width, channels }: ImageShape, factor: number): SmallImage {
  const small = { height: Math.ceil(height / factor), width: Math.ceil(width / factor) };
  const sums = new Float64Array(small.height * small.width * channels);
  const counts = new Float64Array(small.height * small.width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const place = Math.floor(y / factor) * small.width + Math.floor(x / factor);
      counts[place]++;
      for (let c = 0; c < channels; c++) sums[place * channels + c] += pixels[(y * width + x) * channels + c];
    }
  }
  return {
    ...small,
    at: (y, x) => {
      if (y >= small.height) return undefined;
      const place = y * small.width + x;
      return Array.from(
        sums.subarray(place * channels, (place + 1) * channels),
        (sum) => sum / counts[place],
      );
    },
  };
}

function inkOf(image: SmallImage): (y: number, x: number) => boolean {
  const brightness = Array.from({ length: image.height * image.width }, (_, place) =>
    luminance(image.at(Math.floor(place / image.width), place % image.width) ?? []),
  );
  const [darkest, brightest] = [Math.min(...brightness), Math.max(...brightness)];
  const middle = (darkest + brightest) / 2;
  const border = brightness.filter((_, place) => {
    const [y, x] = [Math.floor(place / image.width), place % image.width];
    return y === 0 || x === 0 || y === image.height - 1 || x === image.width - 1;
  });
  const inkIsDark = 2 * border.filter((value) => value < middle).length <= border.length;
  return (y, x) => y < image.height && brightness[y * image.width + x] < middle === inkIsDark;
}

function luminance([red, green = red, blue = red]: readonly number[]): number {
  return 0.299 * red + 0.587 * green + 0.114 * blue;
}

/** The nearest of the 256 colours: 24 greys between black (16) and white (231), or a cube of 6 × 6 × 6. */
function terminalColour([red, green = red, blue = red]: readonly number[]): number {
  if (red === green && green === blue) {
    const level = Math.round((red - 8) / 10);
    return level < 0 ? 16 : level > 23 ? 231 : 232 + level;
  }
  const step = (value: number) => (value < 48 ? 0 : value < 115 ? 1 : Math.round((value - 55) / 40));
  return 16 + 36 * step(red) + 6 * step(green) + step(blue);
}
