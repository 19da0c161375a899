import type { ValueInfoProto } from 'onnx-buf';
import { declaredExtents, declaredType, inputKey, invalid, type OnnxModel } from './model-file.js';
import {
  feedSchema,
  type InputForm,
  type InputHints,
  inOrder,
  inputTypes,
  isSide,
  type OnnxImageInput,
  undecided,
  wideNumbers,
} from './reading.js';

/**
 * What a file that kd-spec exported says about its input, in its metadata: from images that were read so its specialists
 * learned, and options cannot change it.
 *
 * @returns undefined for any other file
 * @throws KdSpecError `checkpoint-invalid` where the metadata are damaged, or the input was changed since; `option-invalid`
 * where an option contradicts them
 */
export function inputOfExported(
  { path, metadata }: OnnxModel,
  input: ValueInfoProto,
  hints: InputHints,
): OnnxImageInput | undefined {
  const text = metadata.get(inputKey);
  const { name } = input;
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const { data } = feedSchema.safeParse(value);
  const areImages = data?.image.isFeatures !== true;
  const isVast = areImages && data !== undefined && !(isSide(data.image.height) && isSide(data.image.width));
  if (data === undefined || data.name !== name || isVast || !isDeclaredAs(input, data)) {
    throw invalid(path, `its metadata "${inputKey}" do not describe the input "${name}": export it again`);
  }
  const { type, layout, image, batch, reading } = data;
  const { order, normalisation } = reading;
  // Declared means are those of red, green and blue.
  const declared = { order, normalisation: inOrder(normalisation, order) };
  const told = { name, type, layout, image, batch: batch ?? undefined, declared, notes: [], warnings: [] };
  expectAsTold(path, told, hints);
  return told;
}

/** Whether an input is declared with the type and the extents that metadata say, as far as it declares any. */
function isDeclaredAs(input: ValueInfoProto, { type, layout, image }: InputForm): boolean {
  const { height, width, channels } = image;
  const shape = {
    'channels-first': [channels, height, width],
    'channels-last': [height, width, channels],
    flat: [height * width * channels],
  }[layout];
  const extents = declaredExtents(input)?.slice(1);
  return (
    inputTypes[declaredType(input)] === type &&
    (extents === undefined ||
      (extents.length === shape.length &&
        extents.every((extent, axis) => extent === undefined || extent === shape[axis])))
  );
}

/** Refuses flags that contradict what the file says. */
function expectAsTold(path: string, told: OnnxImageInput, hints: InputHints): void {
  const { height, width, channels, isFeatures } = told.image;
  if (isFeatures) return;
  const { order, normalisation } = told.declared;
  const { layout, imageSize, mean, deviation } = hints;
  const ofChannels = (own: readonly number[] = [], flag: string, given?: readonly number[]) => {
    const wide = given && wideNumbers(path, given, channels, flag);
    const isAnother = wide?.some((value, at) => Math.abs(value - own[at]) > 1e-6) === true;
    const numbers = own.map((value) => Number(value.toPrecision(4))).join(', ');
    const what = flag === '--image-mean' ? 'mean' : 'deviation';
    return [
      flag,
      isAnother,
      told.type === 'uint8' ? 'bytes as they are' : `a ${what} of ${numbers}`,
    ] as const;
  };
  const contradictions: readonly (readonly [flag: string, isAnother: boolean, own: string])[] = [
    ['--layout', layout !== undefined && layout !== told.layout, told.layout],
    [
      '--image-size',
      imageSize !== undefined && (imageSize.height !== height || imageSize.width !== width),
      `images of ${height}x${width}`,
    ],
    [
      '--channel-order',
      channels > 1 && hints.order !== undefined && hints.order !== order,
      `channels in the order ${order}`,
    ],
    ofChannels(normalisation?.mean, '--image-mean', mean),
    ofChannels(normalisation?.deviation, '--image-std', deviation),
  ];
  const found = contradictions.find(([, isAnother]) => isAnother);
  if (found === undefined) return;
  const [flag, , own] = found;
  throw undecided(
    path,
    `kd-spec wrote it, and its metadata say that it takes ${own}: leave ${flag} out, or start from the original model`,
  );
}
