import type { GraphProto, ValueInfoProto } from 'onnx-buf';
import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import type { ImageFeed } from '../../models/onnx/image-session.js';
import { renameInput } from './imported-graph.js';
import { valueInfo } from './value-info.js';

// How images enter an exported model.

/** The declaration of an image input. */
export function imageInfo({ name, form, batch }: ImageFeed): ValueInfoProto {
  const { height, width, channels } = form.image;
  const shapes = {
    'channels-first': [channels, height, width],
    'channels-last': [height, width, channels],
    flat: [height * width * channels],
  };
  return valueInfo(name, [batch ?? 'batch', ...shapes[form.layout]], form.type);
}

/** The feed of a model that takes images as they are decoded: uint8, red first, channels last. */
export function bytesIn({ name, form, batch }: ImageFeed): ImageFeed {
  const { image } = form;
  const of = (value: number) => Array.from({ length: image.channels }, () => value);
  return {
    name,
    form: { type: 'uint8', layout: 'channels-last', image },
    reading: {
      order: 'rgb',
      normalisation: { name: '0 to 255', mean: of(0), deviation: of(1 / 255) },
    },
    batch,
  };
}

/**
 * Writes what is done to decoded images before the model, as `toModelInput` does it: scaling, normalisation, order of
 * channels, layout, type.
 *
 * @param feed of the model as it is
 */
export function writePreprocessing(
  graph: GraphWriter,
  proto: GraphProto,
  { name, form, reading }: ImageFeed,
): void {
  const { type, layout, image } = form;
  const { height, width, channels } = image;
  const { order, normalisation } = reading;
  const inner = renameInput(proto, name, `${graph.prefix}images`);
  const pixels = graph.castTo(name, 'float32'); // (batch, height, width, channels), 0 to 255
  const ordered =
    order === 'rgb' || channels === 1 ? pixels : graph.gather(pixels, graph.integers([2, 1, 0], [3]), 3);
  // ((value / 255) - mean) / deviation, as one product and one sum.
  const scale = normalisation.deviation.map((deviation) => 1 / (255 * deviation));
  const shift = normalisation.mean.map((mean, channel) => -mean / normalisation.deviation[channel]);
  const row = [1, 1, 1, channels];
  const scaled = graph.add(graph.mul(ordered, graph.floats(scale, row)), graph.floats(shift, row));
  const laid =
    layout === 'channels-first' ? graph.node('Transpose', [scaled], { perm: [0, 3, 1, 2] }) : scaled;
  const shaped = layout === 'flat' ? graph.reshape(laid, [-1, height * width * channels]) : laid;
  const rounded = type === 'uint8' ? graph.node('Round', [shaped]) : shaped;
  graph.name(type === 'float32' ? rounded : graph.castTo(rounded, type), inner);
}
