import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createRandom } from '../../src/core/random.js';
import { encodeSmallPng } from '../../src/data/png.js';
import { floats, modelFile, node } from './onnx-models.js';

// A stranger's classifier of 36 colours, six shades of red by six of green, on the largest value of each channel, 0 to 255. The images come
// from a camera that sees more red and green than it should, so that neighbours are confused.
const size = 8;
const shades = 6;
const spacing = 0.14;

/** A class of {@link colourModel}. */
export interface Colour {
  readonly name: string;
  readonly rgb: readonly number[];
}

export const colours: readonly Colour[] = Array.from({ length: shades * shades }, (_, c) => ({
  name: `red ${c % shades} green ${Math.floor(c / shades)}`,
  rgb: [0.1 + spacing * (c % shades), 0.1 + spacing * Math.floor(c / shades), 0.5],
}));

/** The classifier as an ONNX file. */
export function colourModel(): Uint8Array {
  const sharpness = 60 / 255 ** 2;
  const weights = Float32Array.from(
    { length: 3 * colours.length },
    (_, at) => 2 * 255 * sharpness * colours[at % colours.length].rgb[Math.floor(at / colours.length)],
  );
  const bias = Float32Array.from(
    colours,
    ({ rgb }) => -sharpness * rgb.reduce((sum, value) => sum + (255 * value) ** 2, 0),
  );
  return modelFile({
    input: ['batch', 3, size, size],
    nodes: [
      node('GlobalMaxPool', ['image'], ['pooled']),
      node('Flatten', ['pooled'], ['features']),
      node('Gemm', ['features', 'w', 'b'], ['logits']),
      node('Softmax', ['logits'], ['probabilities'], { axis: -1 }),
    ],
    initializers: [floats('w', [3, colours.length], weights), floats('b', [colours.length], bias)],
    outputs: ['probabilities'],
    metadata: { names: JSON.stringify(colours.map(({ name }) => name)) },
  });
}

/** Images of a colour as that camera takes them, `PLACE/NAME INDEX.png` in a folder. */
export async function photograph(
  folder: string,
  place: string,
  { name, rgb }: Colour,
  images: number,
): Promise<void> {
  await mkdir(join(folder, place), { recursive: true });
  for (let index = 0; index < images; index++) {
    const random = createRandom(name, place, index);
    const cast = [0.05, 0.05, 0];
    const shift = rgb.map((value, channel) => value + cast[channel] + 0.035 * random.normal());
    const pixels = Uint8Array.from({ length: size * size * 3 }, (_, at) =>
      Math.max(0, Math.min(255, 255 * shift[at % 3])),
    );
    const file = encodeSmallPng(pixels, { height: size, width: size, channels: 3 });
    await writeFile(join(folder, place, `${name} ${index}.png`), file);
  }
}
