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
import { neighbourBytes } from '../evaluation/rivals/rival.js';
import { readBackbone } from '../models/checkpoint.js';
import type { ImageBatch } from '../models/classifier.js';
import { readExportedMetadata } from '../models/onnx/exported-metadata.js';
import { findHead, type OnnxHead } from '../models/onnx/find-head.js';
import { decodeOnnxModel, type OnnxModel } from '../models/onnx/model-file.js';
import { type NeighbourHead, withNeighbours } from '../models/onnx/neighbour-head.js';
import {
  type OnnxBackboneDescription,
  openOnnxBackbone,
  readImportedModel,
} from '../models/onnx/onnx-backbone.js';
import { type DenseHead, withHead } from '../models/onnx/replace-head.js';
import { writeOnnxModel } from '../models/onnx/write-model.js';
import type { Settings } from '../pipeline/options.js';
import { chosenFigures, readRivalHead, readRivalNeighbours, readRivals } from '../pipeline/stages/rivals.js';
import { compareExported } from './compare-exported.js';
import {
  type Compared,
  compareLayer,
  compareNeighbours,
  expectEqual,
  type ValueReader,
} from './compare-refitted.js';
import { alignColumns } from './summary.js';

const comparedImages = 64;

/**
 * Writes the generalist of a workspace with the last layer of a rival, or with the training features that neighbours are
 * sought among: an imported model otherwise as it is, with its inputs, outputs and names.
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
  const report = await readRivals(comparison);
  const folder = join(workspace, 'generalist');
  const backbone = await readBackbone(folder);
  const isOfNeighbours = name === 'neighbours';
  if (isOfNeighbours && backbone === undefined) {
    throw new KdSpecError(
      'option-invalid',
      'neighbours are written into imported models alone, and kd-spec rivals keeps their training features only there: ' +
        'choose another rival',
    );
  }
  const made =
    backbone === undefined
      ? await ofNetwork(workspace, folder, await readRivalHead(comparison, name), backend)
      : await ofImported(
          { workspace, folder, backend },
          backbone,
          isOfNeighbours ? await readRivalNeighbours(comparison) : await readRivalHead(comparison, name),
        );
  const { files, bytes } = await writeOnnxModel(path, made.proto, { isExternal });

  const rival = report.rivals.find((one) => one.name === name);
  const figures = chosenFigures(report, name);
  assert(rival !== undefined && figures !== undefined, 'a head is kept with its figures');
  const { top1, gain, standardError, harm } = figures;
  const json = {
    file: path,
    refit: name,
    files: [...files],
    inputs: [...made.inputs],
    outputs: [...made.outputs],
    classes: report.classes,
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
    [isOfNeighbours ? 'behind logits' : 'last layer', rival.what],
    ...(made.stored === undefined
      ? []
      : [
          [
            'stored',
            `features of ${count(made.stored.rows)} training images or views, ${byteSize(made.stored.bytes)}`,
          ],
        ]),
    ['inputs', made.inputs.join(', ')],
    ['outputs', made.outputs.join(', ')],
    ['top-1', `${signedWithin(gain, standardError)} over the model on test images`],
    ...(harm ? [['harm', `${percentWithin(harm.harm, harm.standardError)} to bystanders`]] : []),
    ['agrees', agreement(made, isOfNeighbours ? 'rival' : 'layer')],
    ...(backbone === undefined || isOfNeighbours
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

function agreement({ images, undecided, maxDifference }: Compared, what: string): string {
  const within = `within ${maxDifference.toExponential(1)}`;
  const full = `${within} of the ${what} that was measured, on ${count(images)} images`;
  if (undecided === 0) return full;
  const rest =
    `on ${count(undecided)} images, whose last neighbour single precision does not tell from others, only in what does not ` +
    'depend on which it is';
  return images === 0 ? `${within}, ${rest}` : `${full}; ${rest}`;
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

interface Made extends Compared {
  readonly proto: ModelProto;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Of neighbours, the training features that the file has. */
  readonly stored?: { readonly rows: number; readonly bytes: number } | undefined;
}

/** A workspace, its generalist's folder, and what computes there. */
interface Place {
  readonly workspace: string;
  readonly folder: string;
  readonly backend: Settings['backend'];
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
  const whole = await networkAsEnsemble(folder, { backend, name: 'the refitted generalist', head });
  try {
    const model = await exportOnnx(await exportedParts(whole, folder));
    const compared = await compareExported(model, whole, workspace);
    const outputs = model.proto.graph?.output.map(({ name }) => name) ?? [];
    return {
      proto: model.proto,
      inputs: [model.feed.name],
      outputs,
      images: compared.images,
      undecided: 0,
      maxDifference: compared.maxDifference,
    };
  } finally {
    whole.dispose();
  }
}

async function ofImported(
  { workspace, folder, backend }: Place,
  description: unknown,
  rival: DenseHead | NeighbourHead,
): Promise<Made> {
  const { model, backbone } = await readImportedModel(folder, description);
  if (readExportedMetadata(model) !== undefined) {
    throw new KdSpecError(
      'option-invalid',
      'the generalist is a file that kd-spec exported, whose specialists are calibrated for its last layer: import the model itself',
    );
  }
  const found = await findHead(model, { logits: backbone.output, features: backbone.features });
  const { logits } = found;
  const batch = await testImages(workspace);
  const madeOf = async (
    proto: ModelProto,
    compare: (read: ValueReader) => Promise<Compared>,
  ): Promise<Made> => {
    const written = decodeOnnxModel(model.path, toBinary(ModelProtoSchema, proto));
    const names = (values: readonly { readonly name: string }[]) => values.map(({ name }) => name);
    const compared = await compare(readerOf(written, backbone, batch));
    expectEqual(compared);
    return { proto, inputs: names(written.inputs), outputs: names(written.graph.output), ...compared };
  };
  if (!('units' in rival)) {
    const layer = withBlank(rival, found, backbone.blank);
    return madeOf(await withHead(model, found, layer), (read) =>
      compareLayer(read, backbone, { logits, layer, images: batch.count }),
    );
  }
  const neighbours = besideBlank(rival, backbone.blank);
  const { proto, before } = await withNeighbours(model, found, neighbours);
  const made = await madeOf(proto, (read) =>
    compareNeighbours(read, backbone, { logits, before, neighbours, images: batch.count, backend }),
  );
  const rows = neighbours.labels.length;
  return { ...made, stored: { rows, bytes: neighbourBytes(rows, backbone.width) } };
}

/** Neighbours over the classes of a sequence recogniser, its blank among them. */
function besideBlank(neighbours: NeighbourHead, blank: number | null): NeighbourHead {
  if (blank === null) return neighbours;
  const { labels, isPictured } = neighbours;
  const all = new Uint8Array(isPictured.length + 1);
  all.set(isPictured.subarray(0, blank));
  all.set(isPictured.subarray(blank), blank + 1);
  return {
    ...neighbours,
    labels: labels.map((label) => (label < blank ? label : label + 1)),
    isPictured: all,
    blank,
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

function readerOf(model: OnnxModel, backbone: OnnxBackboneDescription, batch: ImageBatch): ValueReader {
  return async (features, width) => {
    const part = await openOnnxBackbone(model, { ...backbone, features, width });
    try {
      return await part.features(batch);
    } finally {
      part.dispose();
    }
  };
}

async function testImages(workspace: string): Promise<ImageBatch> {
  const { splits, image } = await openDataset(join(workspace, 'dataset'));
  for await (const batch of imageBatches(splits.test, image, { batchSize: comparedImages })) return batch;
  throw new KdSpecError('dataset-invalid', 'the data set has no test images to compare the written model on');
}
