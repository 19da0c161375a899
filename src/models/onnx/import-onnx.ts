import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Operations } from '../../compute/operations.js';
import { type ImageSize, type Sides, sidesOf } from '../../data/source.js';
import { headTensors } from '../checkpoint.js';
import { type Network, networkFromTensors } from '../network.js';
import { cutNetwork } from '../network-backbone.js';
import type { NetworkDefinition } from '../network-definition.js';
import type { HostTensor } from '../safetensors.js';
import { findClassNames, type OnnxClasses } from './class-names.js';
import { wholeModel } from './constants.js';
import { readExportedMetadata } from './exported-metadata.js';
import { findHead, type OnnxHead, withFeatures } from './find-head.js';
import { findImageInput, possibleReadings } from './image-input.js';
import { declaredExtents, invalid, type OnnxModel, readOnnxModel } from './model-file.js';
import { type OnnxBackboneDescription, openOnnxReadings } from './onnx-backbone.js';
import { expectOwnOutput } from './own-output.js';
import type { OnnxImageInput, Reading } from './reading.js';
import { type CheckImages, checkReadings, type SelfCheck } from './self-check.js';
import { expectInference } from './training-mode.js';
import { upgradedOpset, upgradeProblem } from './upgrade-operators.js';
import { operatorsBehind } from './walk-back.js';

/** What a person says about a foreign model; what is left out is read from the model or its neighbours. */
export interface OnnxHints {
  /** A file with the names of its classes. */
  readonly labels: string | null;
  readonly layout: 'channels-first' | 'channels-last' | null;
  readonly channelOrder: 'rgb' | 'bgr' | null;
  /** Of values in [0, 1]. */
  readonly imageMean: readonly number[] | null;
  readonly imageStd: readonly number[] | null;
  /** Where the model takes any. */
  readonly imageSize: ImageSize | null;
  /** The size of the images that it is to be tried on, for the message that asks for one. */
  readonly exampleSize?: () => Promise<Sides | undefined>;
  readonly blank: number | null;
  readonly logits: string | null;
  readonly features: string | null;
}

/** A foreign classifier, looked into but not run. */
export interface OnnxDescription {
  readonly model: OnnxModel;
  readonly head: OnnxHead;
  readonly input: OnnxImageInput;
  readonly classes: OnnxClasses;
  /** A sentence for each thing that was read from somewhere or assumed. */
  readonly notes: readonly string[];
  /** A sentence for each thing that may be an accident of its export. */
  readonly warnings: readonly string[];
}

/**
 * Looks into an ONNX classifier: its head, its image input, its class names.
 *
 * @throws KdSpecError `not-found`, `checkpoint-invalid`; `option-invalid` with the flag that decides what cannot be found out
 */
export async function describeOnnx(path: string, hints: OnnxHints): Promise<OnnxDescription> {
  const read = await readOnnxModel(path);
  // What takes no images is told first: whatever helped to find its head would help nothing.
  const input = await findImageInput(read, {
    layout: hints.layout ?? undefined,
    imageSize: hints.imageSize === null ? undefined : sidesOf(hints.imageSize),
    exampleSize: hints.exampleSize,
    order: hints.channelOrder ?? undefined,
    mean: hints.imageMean ?? undefined,
    deviation: hints.imageStd ?? undefined,
  });
  const { width, isFeatures } = input.image;
  if (isFeatures) {
    throw invalid(
      path,
      `it takes rows of ${width} features, not images: improve what makes them, or give the rows with the model's ` +
        'logits beside them (kd-spec run --source rows.npz)',
    );
  }
  const exported = readExportedMetadata(read)?.imported;
  const logits = hints.logits ?? exported?.logits;
  const model = await withFeatures(read, { logits });
  const head = await findHead(model, { logits, features: hints.features ?? undefined });
  const between = hints.logits === null ? [] : operatorsBehind(model, hints.logits);
  const ofHead = [
    ...(await expectInference(model, [head.output])),
    ...between.map(
      ({ output, operators }) =>
        `the output "${output}" is not what is patched: between "${hints.logits}" (--logits) and it stands more than was ` +
        `understood (${operators.join(', ')}); what is improved and measured is "${hints.logits}" alone`,
    ),
  ];
  const blank = hints.blank ?? exported?.blank ?? undefined;
  // Some exporters declare no rank, or of a model of one image another one than there is.
  const declared = declaredExtents(model.graph.output.find(({ name }) => name === head.output))?.length;
  const mayHaveSteps = declared !== 2 || input.batch === 1;
  const isSequence = head.isSequence || (blank !== undefined && mayHaveSteps);
  const unused = hints.blank !== null && !isSequence;
  const classes = await findClassNames(model, head.classes, {
    isSequence,
    labels: hints.labels ?? undefined,
    blank: isSequence ? blank : undefined,
  });
  const holds = {
    scores: [`its outputs are independent scores (${head.path[0]}): their logits are taken as a softmax's`],
  };
  const isOld = model.opset < upgradedOpset && upgradeProblem(model) === undefined;
  const old = `the model is of operator set ${model.opset}: files that are exported from it are of set ${upgradedOpset}`;
  const notes = [
    ...(unused ? [`--blank ${hints.blank} is ignored: the model's output has no steps`] : []),
    ...(isOld ? [old] : []),
    ...input.notes,
    ...classes.notes,
    ...(head.outputHolds === 'scores' ? holds.scores : []),
    ...head.aside.map(
      (output) =>
        `the output "${output}" is left aside: what is improved and measured is "${head.output}" (--logits decides otherwise)`,
    ),
  ];
  const warnings = [...input.warnings, ...classes.warnings, ...ofHead];
  return { model, head, input, classes, notes, warnings };
}

/** A foreign classifier as a generalist: what its artefact holds. */
export interface ImportedGeneralist {
  readonly network: NetworkDefinition;
  readonly backbone: OnnxBackboneDescription;
  /** The head's. */
  readonly tensors: ReadonlyMap<string, HostTensor>;
  readonly check: SelfCheck;
}

/**
 * Makes a foreign classifier a generalist: a backbone and the dense head on its features.
 *
 * How the images are fed, where nothing says it, is found out on labelled images: see {@link checkReadings}. On a few of
 * them its own output is compared with what the head makes of the features.
 *
 * @param check labelled images; classes are those of the description
 * @param directory gets the model as one file, its external data inside
 * @param options.operations of any backend, for the head while the model is tried
 * @throws KdSpecError `checkpoint-invalid`
 */
export async function importOnnx(
  { model, head, input, classes }: OnnxDescription,
  check: CheckImages,
  directory: string,
  { operations, signal }: { readonly operations: Operations; readonly signal?: AbortSignal },
): Promise<ImportedGeneralist> {
  await mkdir(directory, { recursive: true });
  const name = 'model.onnx';
  await writeFile(join(directory, name), await wholeModel(model));
  const own = withoutBlank(head, classes.blank);
  const backboneOf = (reading: Reading): OnnxBackboneDescription => ({
    kind: 'onnx',
    model: name,
    features: head.features,
    width: head.width,
    output: head.output,
    blank: classes.blank ?? null,
    input: {
      name: input.name,
      type: input.type,
      layout: input.layout,
      image: { ...input.image },
      batch: input.batch ?? null,
    },
    reading: { order: reading.order, normalisation: { ...reading.normalisation } },
  });
  const readings = possibleReadings(input);
  const opened = await openOnnxReadings(model, backboneOf(readings[0]));
  const network: NetworkDefinition = {
    input: { height: 1, width: head.width, channels: 1 },
    convolutions: [],
    kernel: 1,
    dense: [],
    normalisation: 'none',
    dropout: 0,
    outputs: own.classes,
  };
  const tensors = headTensors(own);
  const under = async (reading: Reading) => opened.under(reading);
  let onFeatures: Network | undefined;
  try {
    onFeatures = networkFromTensors(operations, network, tensors);
    const { head: dense } = cutNetwork(onFeatures, 'head');
    const checked = await checkReadings(input, readings, dense, check, under, signal);
    const { reading } = checked.chosen;
    const cut = { dense, backbone: opened.under(reading) };
    await expectOwnOutput(model, head, backboneOf(reading), cut, check);
    return { network, backbone: backboneOf(reading), tensors, check: checked };
  } finally {
    onFeatures?.dispose();
    opened.dispose();
  }
}

/** A head without the output that stands for no character. */
function withoutBlank(head: OnnxHead, blank: number | undefined) {
  if (blank === undefined) return head;
  const { width, classes, weights, bias } = head;
  const kept = new Float32Array(width * (classes - 1));
  for (let row = 0; row < width; row++) {
    kept.set(weights.subarray(row * classes, row * classes + blank), row * (classes - 1));
    kept.set(weights.subarray(row * classes + blank + 1, (row + 1) * classes), row * (classes - 1) + blank);
  }
  const keptBias = new Float32Array(classes - 1);
  keptBias.set(bias.subarray(0, blank));
  keptBias.set(bias.subarray(blank + 1), blank);
  return { width, classes: classes - 1, weights: kept, bias: keptBias };
}
