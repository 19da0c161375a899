import { TensorProto_DataType } from 'onnx-buf';
import { z } from 'zod';
import { KdSpecError } from '../../core/errors.js';
import type { ImageShape, Sides } from '../../data/source.js';
import { numberToHalf } from '../../math/half.js';
import type { InputTensor, InputType } from './session.js';

/** How values in [0, 1] become what a model takes: `(value - mean) / deviation` for each channel. */
export interface Normalisation {
  /** For a person: `imagenet`, `0 to 255`, or where it was read. */
  readonly name: string;
  /** (channels), in the channel order of the model. */
  readonly mean: readonly number[];
  /** (channels) */
  readonly deviation: readonly number[];
}

/** The tensor that a model takes images in. */
export interface InputForm {
  readonly type: InputType;
  readonly layout: 'channels-first' | 'channels-last' | 'flat';
  readonly image: ImageShape;
}

/** One way to feed images to a model. */
export interface Reading {
  readonly order: 'rgb' | 'bgr';
  readonly normalisation: Normalisation;
}

/** The image input of a foreign model. */
export interface OnnxImageInput extends InputForm {
  readonly name: string;
  /** Images that the model takes at once, where that is fixed. */
  readonly batch: number | undefined;
  /** What is known about order and normalisation; undefined is found out with labelled images. */
  readonly declared: { readonly order?: Reading['order']; readonly normalisation?: Normalisation };
  /** A sentence for each thing that was taken from somewhere or assumed. */
  readonly notes: readonly string[];
  /** A sentence for each file beside the model, or key of it, that was meant for its images and is not used. */
  readonly warnings: readonly string[];
}

/** What a person may say about the input. */
export interface InputHints {
  readonly layout?: 'channels-first' | 'channels-last' | undefined;
  /** The images that the model will be given, where it does not say what it takes. */
  readonly given?: ImageShape | undefined;
  readonly imageSize?: Sides | undefined;
  /** The size of the images that there are, for the message where the model takes any; undefined where they have several. */
  readonly exampleSize?: (() => Promise<Sides | undefined>) | undefined;
  readonly order?: Reading['order'] | undefined;
  /** Of values in [0, 1], as in `0.485,0.456,0.406`. */
  readonly mean?: readonly number[] | undefined;
  readonly deviation?: readonly number[] | undefined;
}

/** The types of input that are read, by their number in ONNX. */
export const inputTypes: Partial<Record<number, InputType>> = {
  [TensorProto_DataType.FLOAT]: 'float32',
  [TensorProto_DataType.FLOAT16]: 'float16',
  [TensorProto_DataType.DOUBLE]: 'float64',
  [TensorProto_DataType.UINT8]: 'uint8',
};

/** Pixels of a side: images of a classifier are smaller, and a few larger ones would fill the memory. */
export const mostSide = 4096;
export const isSide = (value: number) => Number.isInteger(value) && value >= 1 && value <= mostSide;

/** The error of what an option decides, or decided wrongly. */
export const undecided = (path: string, what: string) =>
  new KdSpecError('option-invalid', `${path}: ${what}`);

/**
 * A number for each channel, of which one is enough.
 *
 * @throws KdSpecError `option-invalid` for another number of them
 */
export function wideNumbers(
  path: string,
  values: readonly number[],
  channels: number,
  flag: string,
): readonly number[] {
  if (values.length === channels) return values;
  if (values.length === 1) return Array.from({ length: channels }, () => values[0]);
  throw undecided(path, `${flag} has ${values.length} numbers, the images have ${channels} channels`);
}

const count = z.int().positive();
const channel = z.array(z.number()).min(1).max(3).readonly();

/** How a model is fed, as `config.json` of an imported generalist and the metadata of an exported file have it. */
export const inputSchema = z.strictObject({
  name: z.string(),
  type: z.enum(['float32', 'float16', 'float64', 'uint8']),
  layout: z.enum(['channels-first', 'channels-last', 'flat']),
  image: z.strictObject({
    height: count,
    width: count,
    channels: z.union([z.literal(1), z.literal(3)]),
    /** Rows of features in place of images, and how many of their last numbers are logits. */
    isFeatures: z.literal(true).exactOptional(),
    logits: count.exactOptional(),
  }),
  /** Images that the model takes at once; null for any number. */
  batch: count.nullable(),
});

/** A {@link Reading} in the same places. */
export const readingSchema = z.strictObject({
  order: z.enum(['rgb', 'bgr']),
  normalisation: z.strictObject({ name: z.string(), mean: channel, deviation: channel }),
});

/** All that has to be known to feed a model: the metadata of an exported file have it as JSON. */
export const feedSchema = inputSchema.extend({ reading: readingSchema });

/** The normalisations that are in use, by name, for images of so many channels. */
export function normalisations(channels: number): Readonly<Record<string, Normalisation>> {
  const all = (name: string, mean: number, deviation: number): Normalisation => ({
    name,
    mean: Array.from({ length: channels }, () => mean),
    deviation: Array.from({ length: channels }, () => deviation),
  });
  return {
    '0 to 1': all('0 to 1', 0, 1),
    '-1 to 1': all('-1 to 1', 0.5, 0.5),
    '0 to 255': all('0 to 255', 0, 1 / 255),
    ...(channels === 3
      ? { imagenet: { name: 'imagenet', mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] } }
      : { inverted: all('inverted', 1, -1) }),
  };
}

/** Means are given for red, green and blue: for a model of the other order they turn round. */
export function inOrder(normalisation: Normalisation, order: Reading['order']): Normalisation {
  if (order === 'rgb') return normalisation;
  return {
    ...normalisation,
    mean: [...normalisation.mean].reverse(),
    deviation: [...normalisation.deviation].reverse(),
  };
}

/** For a person: `RGB, imagenet`. */
export function describeReading({ order, normalisation }: Reading, channels: number): string {
  return channels === 1 ? normalisation.name : `${order.toUpperCase()}, ${normalisation.name}`;
}

/**
 * Images as a model takes them.
 *
 * @param images (count, height, width, channels), in [0, 1], red first
 */
export function toModelInput(
  { type, layout, image }: InputForm,
  { order, normalisation }: Reading,
  images: Float32Array,
  count: number,
): InputTensor {
  const { height, width, channels } = image;
  const area = height * width;
  const values = new Float32Array(images.length);
  for (let channel = 0; channel < channels; channel++) {
    const source = order === 'bgr' ? channels - 1 - channel : channel;
    const scale = 1 / normalisation.deviation[channel];
    const shift = normalisation.mean[channel];
    for (let row = 0; row < count; row++) {
      for (let pixel = 0; pixel < area; pixel++) {
        const from = (row * area + pixel) * channels;
        const to = layout === 'channels-first' ? (row * channels + channel) * area + pixel : from + channel;
        values[to] = (images[from + source] - shift) * scale;
      }
    }
  }
  const shapes = {
    'channels-first': [count, channels, height, width],
    'channels-last': [count, height, width, channels],
    flat: [count, area * channels],
  };
  const shape = shapes[layout];
  return { type, shape, data: narrowed(values, type) };
}

function narrowed(values: Float32Array, type: InputType): InputTensor['data'] {
  switch (type) {
    case 'float32':
      return values;
    case 'float64':
      return Float64Array.from(values);
    case 'uint8':
      return Uint8Array.from(values, (value) => Math.max(0, Math.min(255, Math.round(value))));
    case 'float16':
      return Uint16Array.from(values, numberToHalf);
  }
}
