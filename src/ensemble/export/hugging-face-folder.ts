import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asFileError } from '../../core/file-error.js';
import { makeFolder } from '../../core/make-folder.js';
import { packageVersion } from '../../core/package.js';
import type { ClassNames } from '../../models/classifier.js';
import { networkValues } from '../../models/network.js';
import type { ImageFeed } from '../../models/onnx/image-session.js';
import { inOrder } from '../../models/onnx/reading.js';
import { writeOnnxModel } from '../../models/onnx/write-model.js';
import { type HostTensor, writeSafetensors } from '../../models/safetensors.js';
import type { NetworkEnsemble } from '../ensemble.js';
import type { Specialist } from '../specialist/specialist.js';
import type { ExportedModel } from './export-onnx.js';

/**
 * Writes the weights of generalist and specialists into one safetensors file: `generalist.<tensor>` and
 * `specialists.<id>.<tensor>`. Its metadata have as JSON what a program needs beside them: class names, definitions of
 * the networks, subsets, and how the ensemble was calibrated. The backbone of an imported model is not in it, and a
 * generalist that copies logits has no tensors.
 *
 * @param specialists of the ensemble, as they are stored
 * @returns its bytes
 */
export async function writeEnsembleTensors(
  path: string,
  { generalist, settings, classes }: NetworkEnsemble,
  specialists: readonly Specialist[],
): Promise<number> {
  const tensors = new Map<string, HostTensor>();
  const add = (prefix: string, values: ReadonlyMap<string, HostTensor>) => {
    for (const [name, tensor] of values) tensors.set(`${prefix}.${name}`, tensor);
  };
  add('generalist', await networkValues(generalist));
  for (const { config, values } of specialists) add(`specialists.${config.id}`, values);
  const described = specialists.map(({ config }) => ({
    id: config.id,
    classes: config.classes,
    head: config.head,
    retrain: config.retrain,
    dustbin: config.dustbin,
    network: config.network,
  }));
  try {
    await writeSafetensors(path, tensors, {
      kd_spec_version: packageVersion(),
      classes: JSON.stringify(classes),
      generalist: JSON.stringify(generalist.definition),
      specialists: JSON.stringify(described),
      ensemble: JSON.stringify(settings),
    });
    return (await stat(path)).size;
  } catch (error) {
    throw asFileError(error, path, 'the weights');
  }
}

/**
 * Writes a folder as hubs of models keep one: `model.onnx`, `config.json` with the class names, the preprocessor's
 * settings, and a card.
 *
 * @param card the text of `README.md`
 * @returns bytes of the model
 */
export async function writeHuggingFaceFolder(
  folder: string,
  model: ExportedModel,
  { classes, card }: { readonly classes: ClassNames; readonly card: string },
): Promise<number> {
  const { feed, fused, metadata } = model;
  const config = {
    model_type: 'kd-spec',
    architectures: ['KdSpecEnsemble'],
    kd_spec_version: packageVersion(),
    num_labels: classes.length,
    id2label: Object.fromEntries(classes.map((name, index) => [String(index), name])),
    label2id: Object.fromEntries(classes.map((name, index) => [name, index])),
    num_channels: feed.form.image.channels,
    rule: metadata.rule,
    specialists: metadata.specialists,
    onnx: { input: feed.name, outputs: { probabilities: fused, generalist: metadata.generalist } },
  };
  const json = (value: object) => `${JSON.stringify(value, null, 2)}\n`;
  try {
    await makeFolder(folder);
    const { bytes } = await writeOnnxModel(join(folder, 'model.onnx'), model.proto);
    await writeFile(join(folder, 'config.json'), json(config));
    if (!feed.form.image.isFeatures)
      await writeFile(join(folder, 'preprocessor_config.json'), json(preprocessorOf(feed)));
    await writeFile(join(folder, 'README.md'), card);
    return bytes;
  } catch (error) {
    throw asFileError(error, folder, 'the folder of the model');
  }
}

/**
 * What is done to an image before the model, in the words of image processors: scaled until it covers the square and cropped
 * at its centre, as kd-spec does; values of 0 to 255, scaled, normalised. These words cannot say what covers an oblong:
 * images are scaled to it, which is the same for those of its proportions. Channels come out red first: see
 * {@link preparation} for the rest.
 */
function preprocessorOf({ form, reading: { order, normalisation } }: ImageFeed) {
  const { height, width, channels } = form.image;
  const { mean, deviation } = inOrder(normalisation, order);
  return {
    image_processor_type: 'CLIPImageProcessor',
    do_resize: true,
    size: height === width ? { shortest_edge: height } : { height, width },
    resample: 1, // Lanczos
    do_center_crop: height === width,
    crop_size: { height, width },
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: mean,
    image_std: deviation,
    do_convert_rgb: channels === 3,
  };
}

/**
 * Lines of Python that make `images`, as the model takes them, of a picture `photo.jpg`, with the folder's
 * `preprocessor_config.json`; for a model of features, lines that make `rows` of a file of numbers.
 */
export function preparation({ form, reading: { order } }: ImageFeed): readonly string[] {
  const { image, type, layout } = form;
  if (image.isFeatures) {
    return ['import numpy', `rows = numpy.load('rows.npy').astype('float32')  # (rows, ${image.width})`];
  }
  const { channels } = image;
  const isGrey = channels === 1;
  return [
    'from PIL import Image',
    'from transformers import AutoImageProcessor',
    `picture = Image.open('photo.jpg').convert('${isGrey ? 'L' : 'RGB'}')`,
    "images = AutoImageProcessor.from_pretrained('.')(picture, return_tensors='np')['pixel_values']",
    ...(order === 'bgr' && !isGrey ? ['images = images[:, ::-1]  # blue first'] : []),
    ...(layout === 'channels-last' ? ['images = images.transpose(0, 2, 3, 1)'] : []),
    ...(layout === 'flat' ? ['images = images.reshape(len(images), -1)'] : []),
    `images = images${type === 'uint8' ? '.round()' : ''}.astype('${type}')`,
  ];
}
