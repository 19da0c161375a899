import { TensorProto_DataType } from 'onnx-buf';
import type { KdSpecError } from '../../core/errors.js';
import type { ImageShape } from '../../data/source.js';
import { inputOfExported } from './exported-input.js';
import { type ImageConfig, normalisationOfConfig, readImageConfig, unusable } from './image-config.js';
import { declaredExtents, declaredType, integersAttribute, invalid, type OnnxModel } from './model-file.js';
import {
  type InputHints,
  inOrder,
  inputTypes,
  isSide,
  mostSide,
  type Normalisation,
  normalisations,
  type OnnxImageInput,
  type Reading,
  undecided,
  wideNumbers,
} from './reading.js';
import type { InputType } from './session.js';

/**
 * Finds out how a model wants its images: what a file of kd-spec says of itself; of another model from flags, then from
 * `preprocessor_config.json` or `config.json` beside it, then from the declared shape.
 *
 * @throws KdSpecError `checkpoint-invalid` when the model has no image input, or a file beside it a value that cannot be
 * meant: the message names file and key; `option-invalid` when what is missing cannot be guessed, or a flag contradicts the
 * model: the message names the flag
 */
export async function findImageInput(model: OnnxModel, hints: InputHints = {}): Promise<OnnxImageInput> {
  const { path, inputs } = model;
  const candidates = inputs.filter((input) => [3, 4].includes(declaredExtents(input)?.length ?? 4));
  const [input] = candidates.length === 1 ? candidates : inputs;
  if (input === undefined || inputs.length > 1) {
    throw invalid(
      path,
      `expected one input of images, found ${inputs.length} (${inputs.map(({ name }) => name).join(', ')}): ` +
        'export the model with its images as the only input, and what else it takes as a constant',
    );
  }
  const told = inputOfExported(model, input, hints);
  if (told) return told;
  const extents = declaredExtents(input) ?? [undefined, undefined, undefined, undefined];
  const flat = extents.length === 2 ? flatImage(extents[1], hints.given) : undefined;
  if (!flat && extents.length !== 4) throw noImages(model, input.name, extents);
  const elementType = declaredType(input);
  const type = inputTypes[elementType];
  if (type === undefined) {
    throw invalid(
      path,
      `the input "${input.name}" takes ${TensorProto_DataType[elementType] ?? 'an unknown type'}: expected float32, ` +
        'float16, double or uint8 images',
    );
  }
  const notes: string[] = [];
  const warnings: string[] = [];
  const config = await readImageConfig(path, warnings);
  const said = { notes, warnings };
  if (flat) {
    const normalisation = normalisationOf(path, flat.channels, type, hints, config, said);
    const declared = { order: hints.order ?? ('rgb' as const), ...(normalisation && { normalisation }) };
    return { name: input.name, type, layout: 'flat', image: flat, batch: extents[0], declared, ...said };
  }
  const layout = hints.layout ?? layoutOf(model, input.name, extents, notes);
  const [channels, height, width] =
    layout === 'channels-first' ? extents.slice(1) : [extents[3], extents[1], extents[2]];
  const image = await shapeOf(
    path,
    { channels: channels ?? hints.given?.channels ?? 3, height, width },
    hints,
    config,
    notes,
  );
  const normalisation = normalisationOf(path, image.channels, type, hints, config, said);
  const order = hints.order ?? (image.channels === 1 ? 'rgb' : undefined);
  return {
    name: input.name,
    type,
    layout,
    image,
    batch: extents[0],
    declared: { ...(order && { order }), ...(normalisation && { normalisation }) },
    ...said,
  };
}

/** The error of an input with other axes than images have. */
function noImages(
  { path, graph }: OnnxModel,
  name: string,
  extents: readonly (number | undefined)[],
): KdSpecError {
  if (extents.length === 2) {
    const operator = graph.node.find(({ opType }) => /(Classifier|Regressor|Ensemble)$/.test(opType))?.opType;
    return invalid(
      path,
      `the input "${name}" has 2 axes, as rows of features have it: expected images of (batch, channels, height, width) or ` +
        `(batch, height, width, channels)${operator ? `; a ${operator}, as this model has, is not read either` : ''}: ` +
        'if it takes features, give these, with its logits beside them (kd-spec run --source rows.npz)',
    );
  }
  const isOneImage = extents.length === 3 && extents.some((extent) => extent === 1 || extent === 3);
  return invalid(
    path,
    `the input "${name}" has ${extents.length} axes: expected images of (batch, channels, height, width) or ` +
      '(batch, height, width, channels)' +
      (isOneImage
        ? ': if it takes one image without a batch, export it for a batch of images (in PyTorch give ' +
          'torch.onnx.export a batch, image[None], and let no forward() add that axis or take it away)'
        : ''),
  );
}

/** Images whose values come in one row, if those that will be given have as many. */
function flatImage(extent: number | undefined, given: ImageShape | undefined): ImageShape | undefined {
  return given && extent === given.height * given.width * given.channels ? given : undefined;
}

function layoutOf(
  model: OnnxModel,
  input: string,
  [, second, , last]: readonly (number | undefined)[],
  notes: string[],
): 'channels-first' | 'channels-last' {
  const first = second === 1 || second === 3;
  const end = last === 1 || last === 3;
  if (first && !end) return 'channels-first';
  if (end && !first) return 'channels-last';
  const byUse = layoutByUse(model, input);
  if (byUse) return byUse;
  if (second !== undefined && last !== undefined && !first && !end) {
    throw invalid(
      model.path,
      `its input of [batch, ${second}, ..., ${last}] has no axis of 1 channel (grey) or 3 (colour): other images are not ` +
        'read; export it for one of these, or import predictions that were made elsewhere (kd-spec cluster --predictions)',
    );
  }
  if (second === undefined && last === undefined) {
    notes.push(
      'the model does not say where its channels are: taken as first, as PyTorch has it (--layout channels-last says otherwise)',
    );
    return 'channels-first';
  }
  throw undecided(
    model.path,
    `its input of [batch, ${second ?? '?'}, ..., ${last ?? '?'}] may have its channels first or last: say --layout ` +
      'channels-first or channels-last',
  );
}

/** Operators of one value at a time, which leave the layout as it is. */
const pointwise: ReadonlySet<string> = new Set(['Identity', 'Cast', 'Sub', 'Add', 'Mul', 'Div', 'Clip']);

/** What the first operator that knows its axes says: convolutions have channels first, a transposition may lead to them. */
function layoutByUse(
  { consumers }: OnnxModel,
  input: string,
): 'channels-first' | 'channels-last' | undefined {
  let at = input;
  for (let step = 0; step < 16; step++) {
    const [node] = consumers.get(at) ?? [];
    if (node === undefined) return undefined;
    if (node.opType === 'Conv' || node.opType === 'BatchNormalization') return 'channels-first';
    if (node.opType === 'Transpose') {
      const permutation = integersAttribute(node, 'perm')?.join();
      if (permutation === '0,3,1,2') return 'channels-last';
      return permutation === '0,2,3,1' ? 'channels-first' : undefined;
    }
    if (!pointwise.has(node.opType)) return undefined;
    at = node.output[0];
  }
  return undefined;
}

async function shapeOf(
  path: string,
  declared: {
    readonly channels: number;
    readonly height?: number | undefined;
    readonly width?: number | undefined;
  },
  { imageSize, given, exampleSize }: InputHints,
  { size }: ImageConfig,
  notes: string[],
): Promise<ImageShape> {
  const { channels } = declared;
  if (channels !== 1 && channels !== 3) {
    throw invalid(path, `its images have ${channels} channels: expected 1 (grey) or 3 (colour)`);
  }
  const told = imageSize;
  for (const side of ['height', 'width'] as const) {
    if (told && declared[side] !== undefined && told[side] !== declared[side]) {
      throw undecided(
        path,
        `the model takes images of a ${side} of ${declared[side]}, not ${told[side]} (--image-size): ` +
          (declared.height !== undefined && declared.width !== undefined
            ? 'leave the flag out'
            : `give ${declared.height ?? 'HEIGHT'}x${declared.width ?? 'WIDTH'}`),
      );
    }
  }
  const height = declared.height ?? told?.height ?? size?.height ?? given?.height ?? declared.width;
  const width = declared.width ?? told?.width ?? size?.width ?? given?.width ?? declared.height;
  if (height === undefined || width === undefined) {
    const { height: h, width: w } = (await exampleSize?.()) ?? { height: 224, width: 224 };
    throw undecided(
      path,
      `the model takes images of any size: say --image-size, e.g. --image-size ${h === w ? h : `${h}x${w}`}`,
    );
  }
  for (const [side, value] of [
    ['height', height],
    ['width', width],
  ] as const) {
    if (declared[side] === undefined && !told && size && !isSide(value))
      throw unusable(size, `whole numbers from 1 to ${mostSide}`, '--image-size');
    if (!isSide(value))
      throw invalid(path, `its images are of ${height}x${width}: expected at most ${mostSide} pixels a side`);
    if (declared[side] === undefined && !(told ?? size ?? given))
      notes.push(
        `any ${side} is taken: ${value} is used, as square images have it (--image-size says otherwise)`,
      );
  }
  return { height, width, channels };
}

function normalisationOf(
  path: string,
  channels: number,
  type: InputType,
  { mean, deviation }: InputHints,
  { normalisation }: ImageConfig,
  said: { readonly notes: string[]; readonly warnings: string[] },
): Normalisation | undefined {
  if (mean !== undefined || deviation !== undefined) {
    return {
      name: 'as --image-mean and --image-std say',
      mean: wideNumbers(path, mean ?? [0], channels, '--image-mean'),
      deviation: wideNumbers(path, deviation ?? [1], channels, '--image-std'),
    };
  }
  if (type === 'uint8') return normalisations(channels)['0 to 255'];
  return normalisation && normalisationOfConfig(normalisation, channels, said);
}

/** Every reading that what is declared leaves open; one where nothing is open. */
export function possibleReadings({ image, declared }: OnnxImageInput): readonly Reading[] {
  const orders: readonly Reading['order'][] = declared.order ? [declared.order] : ['rgb', 'bgr'];
  const known = declared.normalisation
    ? [declared.normalisation]
    : Object.values(normalisations(image.channels));
  return known.flatMap((normalisation) =>
    orders.map((order) => ({ order, normalisation: inOrder(normalisation, order) })),
  );
}
