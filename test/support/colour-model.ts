import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createRandom } from '../../src/core/random.js';
import { encodeSmallPng } from '../../src/data/png.js';
import { floats, integers, modelFile, node } from './onnx-models.js';

// A stranger's classifier of colours, and pictures of them.

export const size = 12;
export const colours: Readonly<Record<string, readonly number[]>> = {
  red: [0.9, 0.1, 0.1],
  orange: [0.9, 0.5, 0.1],
  green: [0.1, 0.8, 0.2],
  blue: [0.1, 0.2, 0.9],
  purple: [0.6, 0.1, 0.8],
  white: [0.95, 0.95, 0.95],
};
export const colourNames = Object.keys(colours);
/** The outputs that a crowded model has more. */
export const crowd = ['features', 'thresholds', 'image'];

/**
 * Takes the mean of each channel, from 0 to 255, blue first, and a linear head on it: the nearest mean colour, as a
 * softmax of `2 m·x - |m|²`.
 *
 * @param options.favours what is added to the logits of colours by name: what the model confuses
 * @param options.isSequence predicts for three columns of the picture, with a blank before the colours: (batch, 3, 7)
 * @param options.isOne the same for one picture at a time, the steps before the batch, as PyTorch's recurrent layers have
 * them: (3, 1, 7), which is not declared
 * @param options.isOblong takes pictures twice as wide as high, and looks at their left half alone
 * @param options.isFree declares no height and no width
 * @param options.isCrowded has more outputs: its features, what it was trained with (a constant), and its input as it came;
 * and weights under a name that kd-spec gives to outputs
 */
export function colourModel({
  favours = {},
  isOne = false,
  isSequence = isOne,
  isCrowded = false,
  isOblong = false,
  isFree = false,
}: {
  readonly favours?: Readonly<Record<string, number>>;
  readonly isSequence?: boolean;
  readonly isOne?: boolean;
  readonly isCrowded?: boolean;
  readonly isOblong?: boolean;
  readonly isFree?: boolean;
} = {}): Uint8Array {
  const means = Object.values(colours).map((rgb) => [...rgb].reverse().map((value) => 255 * value));
  const sharpness = 16 / 255 ** 2;
  const columns = isSequence ? [undefined, ...means] : means; // the blank has no colour
  const outputs = columns.length;
  const weights = Float32Array.from({ length: 3 * outputs }, (_, at) => {
    const mean = columns[at % outputs];
    return mean ? 2 * sharpness * mean[Math.floor(at / outputs)] : 0;
  });
  const names = isSequence ? ['', ...colourNames] : colourNames;
  const bias = Float32Array.from(columns, (mean, c) =>
    mean ? (favours[names[c]] ?? 0) - sharpness * mean.reduce((sum, value) => sum + value * value, 0) : 2,
  );
  const features = isSequence
    ? [
        node('AveragePool', ['image'], ['pooled'], {
          kernel_shape: [size, size / 3],
          strides: [size, size / 3],
        }),
        node('Reshape', ['pooled', 'steps'], ['channels']),
        node('Transpose', ['channels'], [isOne ? 'in steps' : 'features'], { perm: [0, 2, 1] }),
        ...(isOne ? [node('Reshape', ['in steps', 'rows'], ['features'])] : []),
      ]
    : [
        ...(isOblong
          ? [
              node('AveragePool', ['image'], ['halves'], {
                kernel_shape: [size, size],
                strides: [size, size],
              }),
              node('Gather', ['halves', 'left'], ['pooled'], { axis: 3 }),
            ]
          : [node('GlobalAveragePool', ['image'], ['pooled'])]),
        node('Flatten', ['pooled'], ['features']),
      ];
  const w = isCrowded ? 'generalist' : 'w';
  return modelFile({
    input: [isOne ? 1 : 'batch', 3, ...(isFree ? ['height', 'width'] : [size, isOblong ? 2 * size : size])],
    nodes: [
      ...features,
      node('MatMul', ['features', w], ['product']),
      node('Add', ['product', 'b'], ['logits']),
      node('Softmax', ['logits'], [isOne ? 'of steps' : 'probabilities'], { axis: -1 }),
      ...(isOne ? [node('Reshape', ['of steps', 'apart'], ['probabilities'])] : []),
    ],
    initializers: [
      floats(w, [3, outputs], weights),
      floats('b', [outputs], bias),
      ...(isSequence ? [integers('steps', [3], BigInt64Array.of(0n, 3n, 3n))] : []),
      ...(isCrowded ? [floats('thresholds', [2], Float32Array.of(0.25, 0.75))] : []),
      ...(isOblong ? [integers('left', [1], BigInt64Array.of(0n))] : []),
      ...(isOne ? [integers('rows', [2], BigInt64Array.of(-1n, 3n))] : []),
      ...(isOne ? [integers('apart', [3], BigInt64Array.of(-1n, 1n, BigInt(outputs)))] : []),
    ],
    outputs: ['probabilities', ...(isCrowded ? crowd : [])],
    ...(isSequence && !isOne && { outputShapes: { probabilities: ['batch', 3, outputs] } }),
    metadata: { names: JSON.stringify(colourNames), license: 'cc-by-4.0' },
  });
}

/**
 * Writes pictures of colours into a folder for each label.
 *
 * @param options.isOblong twice as wide as high, the right half of any other colour
 */
export async function writePictures(
  folder: string,
  labels: readonly string[],
  {
    colourOf = (label) => label,
    perLabel = 30,
    seed = '',
    isOblong = false,
  }: {
    readonly colourOf?: (label: string) => string;
    readonly perLabel?: number;
    readonly seed?: string;
    readonly isOblong?: boolean;
  } = {},
): Promise<void> {
  for (const label of labels) {
    await mkdir(join(folder, label), { recursive: true });
    const rgb = colours[colourOf(label)];
    for (let index = 0; index < perLabel; index++) {
      const random = createRandom(`${label}${seed}`, index);
      const shift = rgb.map(() => 0.18 * random.normal());
      const width = isOblong ? 2 * size : size;
      const other = isOblong ? [0, 0, 0].map(() => random.uniform()) : rgb;
      const pixels = Uint8Array.from({ length: size * width * 3 }, (_, at) => {
        const own = Math.floor(at / 3) % width < size ? rgb : other;
        return Math.max(0, Math.min(255, 255 * (own[at % 3] + shift[at % 3]) + 20 * random.normal()));
      });
      const file = encodeSmallPng(pixels, { height: size, width, channels: 3 });
      await writeFile(join(folder, label, `${index}.png`), file);
    }
  }
}
