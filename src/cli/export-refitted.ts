import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { toBinary } from '@bufbuild/protobuf';
import { type ModelProto, ModelProtoSchema } from 'onnx-buf';
import { readManifest } from '../core/artefact.js';
import { assert, KdSpecError } from '../core/errors.js';
import type { JsonObject } from '../core/json.js';
import { percentWithin, signedWithin } from '../core/percent.js';
import { byteSize, count } from '../core/quantity-text.js';
import { imageBatches } from '../data/batches.js';
import { openDataset } from '../data/dataset.js';
import { networkAsEnsemble } from '../ensemble/ensemble.js';
import { exportOnnx } from '../ensemble/export/export-onnx.js';
import { exportedParts } from '../ensemble/export/exported-parts.js';
import { softmax } from '../math/softmax.js';
import { readBackbone } from '../models/checkpoint.js';
import type { ImageBatch } from '../models/classifier.js';
import { readExportedMetadata } from '../models/onnx/exported-metadata.js';
import { findHead, type OnnxHead } from '../models/onnx/find-head.js';
import { decodeOnnxModel, type OnnxModel } from '../models/onnx/model-file.js';
import {
  type OnnxBackboneDescription,
  openOnnxBackbone,
  readImportedModel,
} from '../models/onnx/onnx-backbone.js';
import { type DenseHead, withHead } from '../models/onnx/replace-head.js';
import { writeOnnxModel } from '../models/onnx/write-model.js';
import type { Settings } from '../pipeline/options.js';
import { readRivalHead, readRivals } from '../pipeline/stages/rivals.js';
import { compareExported } from './compare-exported.js';
import { alignColumns } from './summary.js';

const comparedImages = 64;
const mostDifference = 1e-2; // of a probability, of weights in 16 bits too: more is a defect

/**
 * Writes the generalist of a workspace with the last layer of a rival: an imported model otherwise as it is, with its
 * inputs, outputs and names.
 *
 * @param path where to write; what is there is replaced
 * @param name of the rival
 * @throws KdSpecError `not-found` before `kd-spec rivals`, or where nothing of the rival is within the bound on harm;
 * `option-invalid` for a graph that takes no other head
 */
export async function exportRefitted(
  path: string,
  name: string,
  { workspace, backend }: Settings,
  { isExternal }: { readonly isExternal: boolean },
): Promise<{ readonly json: JsonObject; readonly text: string }> {
  const comparison = await expectComparison(workspace);
  const head = await readRivalHead(comparison, name);
  const { rivals, bystanders } = await readRivals(comparison);
  const folder = join(workspace, 'generalist');
  const backbone = await readBackbone(folder);
  const made =
    backbone === undefined
      ? await ofNetwork(workspace, folder, head, backend)
      : await ofImported(workspace, folder, backbone, head);
  const { files, bytes } = await writeOnnxModel(path, made.proto, { isExternal });

  const rival = rivals.find((one) => one.name === name);
  const figures = bystanders ? rival?.bounded : rival?.best;
  assert(rival !== undefined && figures !== undefined && figures !== null, 'a head is kept with its figures');
  const { top1, gain, standardError, harm } = figures;
  const json = {
    file: path,
    refit: name,
    files: [...files],
    inputs: [...made.inputs],
    outputs: [...made.outputs],
    classes: head.classes,
    bytes,
    images: made.images,
    maxDifference: made.maxDifference,
    top1,
    gain,
    standardError,
    harm: harm ? { ...harm } : null,
  };
  const text = alignColumns([
    ['model', `${files.join(', ')}, ${byteSize(bytes)}`],
    ['last layer', rival.what],
    ['inputs', made.inputs.join(', ')],
    ['outputs', made.outputs.join(', ')],
    ['top-1', `${signedWithin(gain, standardError)} over the model on test images`],
    ...(harm ? [['harm', `${percentWithin(harm.harm, harm.standardError)} to bystanders`]] : []),
    [
      'agrees',
      `within ${made.maxDifference.toExponential(1)} of the layer that was measured, on ${count(made.images)} images`,
    ],
    ...(backbone === undefined
      ? []
      : [
          [
            'next',
            `kd-spec run --onnx ${files[0]} --source ...   specialists on it, in a workspace of their own`,
          ],
        ]),
  ]);
  return { json, text };
}

/** The folder of a comparison that was made with the generalist of the workspace. */
async function expectComparison(workspace: string): Promise<string> {
  const folder = join(workspace, 'rivals');
  if (!existsSync(folder)) {
    throw new KdSpecError('not-found', `no comparison of rivals in ${workspace}: run kd-spec rivals first`);
  }
  const [{ inputs }, { digest }] = [
    await readManifest(folder),
    await readManifest(join(workspace, 'generalist')),
  ];
  if (inputs.generalist === digest) return folder;
  throw new KdSpecError(
    'not-found',
    'the rivals were compared on another generalist than that of the workspace: run kd-spec rivals again',
  );
}

interface Made {
  readonly proto: ModelProto;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly images: number;
  /** Of a probability, between the file and the layer that was measured. */
  readonly maxDifference: number;
}

async function ofNetwork(
  workspace: string,
  folder: string,
  head: DenseHead,
  backend: Settings['backend'],
): Promise<Made> {
  if (head.hidden) {
    throw new KdSpecError(
      'option-invalid',
      'hidden units are written into imported models alone: give a generalist that kd-spec trains another dense layer ' +
        '(--dense)',
    );
  }
  const whole = await networkAsEnsemble(folder, { backend, name: 'the refitted generalist' });
  try {
    const { generalist } = whole;
    const { operations } = generalist;
    operations.assign(generalist.variable('head.weights'), head.weights);
    operations.assign(generalist.variable('head.bias'), head.bias);
    const model = await exportOnnx(await exportedParts(whole, folder));
    const compared = await compareExported(model, whole, workspace);
    const outputs = model.proto.graph?.output.map(({ name }) => name) ?? [];
    return {
      proto: model.proto,
      inputs: [model.feed.name],
      outputs,
      images: compared.images,
      maxDifference: compared.maxDifference,
    };
  } finally {
    whole.dispose();
  }
}

async function ofImported(
  workspace: string,
  folder: string,
  description: unknown,
  head: DenseHead,
): Promise<Made> {
  const { model, backbone } = await readImportedModel(folder, description);
  if (readExportedMetadata(model) !== undefined) {
    throw new KdSpecError(
      'option-invalid',
      'the generalist is a file that kd-spec exported, whose specialists are calibrated for its last layer: import the model itself',
    );
  }
  const found = await findHead(model, { logits: backbone.output, features: backbone.features });
  const layer = withBlank(head, found, backbone.blank);
  const proto = await withHead(model, found, layer);
  const written = decodeOnnxModel(model.path, toBinary(ModelProtoSchema, proto));
  const names = (values: readonly { readonly name: string }[]) => values.map(({ name }) => name);
  return {
    proto,
    inputs: names(written.inputs),
    outputs: names(written.graph.output),
    ...(await compare(written, backbone, { logits: found.logits, layer, workspace })),
  };
}

/** A sequence recogniser's blank keeps the weights that it had. */
function withBlank(
  head: DenseHead,
  { weights, bias, width, classes }: OnnxHead,
  blank: number | null,
): DenseHead {
  if (blank === null) return head;
  const rows = width + (head.hidden?.bias.length ?? 0);
  const kept = new Float32Array(rows * classes);
  kept.set(weights); // its blank takes nothing of hidden units
  const offsets = Float32Array.from(bias);
  for (let label = 0; label < classes; label++) {
    if (label === blank) continue;
    const own = label < blank ? label : label - 1;
    offsets[label] = head.bias[own];
    for (let row = 0; row < rows; row++)
      kept[row * classes + label] = head.weights[row * (classes - 1) + own];
  }
  return { ...head, weights: kept, bias: offsets };
}

/** Runs the written model: its logits against those of the layer on the features that it computes. */
async function compare(
  model: OnnxModel,
  backbone: OnnxBackboneDescription,
  {
    logits,
    layer,
    workspace,
  }: { readonly logits: string; readonly layer: DenseHead; readonly workspace: string },
): Promise<Pick<Made, 'images' | 'maxDifference'>> {
  const classes = layer.bias.length;
  const batch = await testImages(workspace);
  const read = async (features: string, width: number) => {
    const part = await openOnnxBackbone(model, { ...backbone, features, width });
    try {
      return await part.features(batch);
    } finally {
      part.dispose();
    }
  };
  const { width } = backbone;
  const features = await read(backbone.features, width);
  const found = await read(logits, classes);
  let maxDifference = 0;
  for (let row = 0; row < batch.count; row++) {
    const own = features.subarray(row * width, (row + 1) * width);
    const units = layer.hidden ? applied(layer.hidden, own).map((value) => Math.max(0, value)) : [];
    const expected = applied(layer, [...own, ...units]);
    const [wanted, given] = [softmax(expected), softmax(found.subarray(row * classes, (row + 1) * classes))];
    for (let label = 0; label < classes; label++)
      maxDifference = Math.max(maxDifference, Math.abs(wanted[label] - given[label]));
  }
  if (maxDifference < mostDifference) return { images: batch.count, maxDifference };
  throw new KdSpecError(
    'fusion-input',
    `the written layer differs from the measured one by ${maxDifference.toPrecision(2)}: this is a defect of kd-spec; ` +
      'nothing was written',
  );
}

/** What a dense layer makes of its input. */
function applied(
  { weights, bias }: Pick<DenseHead, 'weights' | 'bias'>,
  input: Float32Array | readonly number[],
): Float32Array {
  const out = Float32Array.from(bias);
  for (const [row, value] of input.entries())
    for (let unit = 0; unit < out.length; unit++) out[unit] += value * weights[row * out.length + unit];
  return out;
}

async function testImages(workspace: string): Promise<ImageBatch> {
  const { splits, image } = await openDataset(join(workspace, 'dataset'));
  for await (const batch of imageBatches(splits.test, image, { batchSize: comparedImages })) return batch;
  throw new KdSpecError('dataset-invalid', 'the data set has no test images to compare the written model on');
}
