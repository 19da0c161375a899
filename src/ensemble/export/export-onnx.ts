import { create, toBinary } from '@bufbuild/protobuf';
import {
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
} from 'onnx-buf';
import { KdSpecError } from '../../core/errors.js';
import { packageVersion } from '../../core/package.js';
import { hiddenFeatures } from '../../models/network-definition.js';
import { withData } from '../../models/onnx/constants.js';
import {
  type ExportedMetadata,
  type PatchRecord,
  readExportedMetadata,
} from '../../models/onnx/exported-metadata.js';
import {
  createGraphWriter,
  type GraphWriter,
  neededBy,
  renameValue,
  valueNames,
} from '../../models/onnx/graph-writer.js';
import type { ImageFeed } from '../../models/onnx/image-session.js';
import {
  ensembleKey,
  fusedNamesKey,
  fusedOutputKey,
  inputKey,
  invalid,
  isLarge,
  type OnnxModel,
  outputHolds,
} from '../../models/onnx/model-file.js';
import { writeConvolutions, writeDense } from '../../models/onnx/network-graph.js';
import type { Reading } from '../../models/onnx/reading.js';
import type { WeightPrecision } from '../../models/onnx/stored-weights.js';
import { upgradedOpset, upgradeOperators, upgradeProblem } from '../../models/onnx/upgrade-operators.js';
import { type ExportedParts, type HostParts, hostParts } from './exported-parts.js';
import { type FusionOutputs, writeFusion } from './fusion-graph.js';
import { bytesIn, imageInfo, writePreprocessing } from './image-graph.js';
import { sortNodes, writeImported, writeReplacement } from './imported-graph.js';
import { elementTypeOf, valueInfo } from './value-info.js';

/** What may be chosen about a file. */
export interface ExportOptions {
  /** How weights are stored that are written: not those that an imported model has itself. */
  readonly weights?: WeightPrecision;
  /** Whether the outputs tell what the specialists predict. */
  readonly trace?: boolean;
  /** Whether the fused distribution takes the place of an imported model's own output, too. */
  readonly replaceOutput?: boolean;
  /** Whether the model takes uint8 images, (batch, height, width, channels), red first, instead of its own tensors. */
  readonly withPreprocessing?: boolean;
}

/** An ensemble as one ONNX model. */
export interface ExportedModel {
  readonly proto: ModelProto;
  /** The image input, and how it is fed. */
  readonly feed: ImageFeed;
  /** The names of the outputs that were added. */
  readonly outputs: readonly string[];
  /** The output with the fused distribution. */
  readonly fused: string;
  readonly metadata: ExportedMetadata;
}

const ownOpset = 17;
const irVersion = 8n;
/** Before it, weights had to stand among the inputs. */
const leastIrVersion = 4n;

/**
 * Refuses a foreign model that no ensemble can be written into, as can be known before anything is trained.
 *
 * @param options.replaceOutput whether the fused distribution is to stand where that of the model was
 * @param options.output the value that was followed back to the head
 * @throws KdSpecError `option-invalid`
 */
export function expectExportable(
  model: OnnxModel,
  { replaceOutput, output }: { readonly replaceOutput: boolean; readonly output: string },
): void {
  const problem = upgradeProblem(model);
  if (problem !== undefined) {
    throw new KdSpecError(
      'option-invalid',
      `the model is of operator set ${model.opset}, the fusion needs ${upgradedOpset}, and kd-spec cannot convert it ` +
        `(${problem}): convert it (onnx.version_converter.convert_version(model, 17) in Python) and import it again`,
    );
  }
  if (!replaceOutput) return;
  const before = readExportedMetadata(model)?.imported;
  if (typeof before?.blank === 'number') {
    throw new KdSpecError(
      'option-invalid',
      'the output of a sequence recogniser that was patched before cannot be replaced: patch the model itself, with all ' +
        'images and --replace-output',
    );
  }
  if (typeof before?.replaced === 'string') return; // it was of a kind that can be
  if (!model.graph.output.some(({ name }) => name === output)) {
    const names = model.graph.output.map(({ name }) => `"${name}"`).join(', ');
    throw new KdSpecError(
      'option-invalid',
      `"${output}" (--logits) is a value inside the graph, and what the model makes of it may not be a distribution of ` +
        `the classes: leave out --replace-output, and read the output with the fused distribution instead of ${names}`,
    );
  }
  if (outputHolds(model, output) === 'scores') {
    throw new KdSpecError(
      'option-invalid',
      `the output "${output}" holds scores that are independent of each other (a sigmoid each), not a distribution: ` +
        'leave out --replace-output, and read the output with the fused distribution',
    );
  }
}

/**
 * Writes a generalist with its specialists, their calibration, routing and fusion as one ONNX model in standard
 * operators, with the outputs `probabilities`, fused, and `generalist`: (batch, classes).
 *
 * A generalist of our own has the input `images`, (batch, channels, height, width), float32 in [0, 1], or `features`,
 * (batch, values), as they were stored, and the names of its classes in the metadata, key `names`, as a JSON list. An
 * imported one keeps its graph, inputs, outputs and metadata as they are, and gets these two outputs beside its own; the
 * names stand under `kd_spec_names`. A file that was exported before keeps its specialists: the new ones are fused with
 * what it predicts. The metadata say all that is needed to open the file as a classifier.
 *
 * @throws KdSpecError `option-invalid` for what has no form as a graph: rules, specialists that retrained convolutions
 * or have a full head, corrections that depend on the image, old operator sets that cannot be converted
 */
export async function exportOnnx(
  parts: ExportedParts,
  { weights = 'fp32', trace = false, replaceOutput = false, withPreprocessing = false }: ExportOptions = {},
): Promise<ExportedModel> {
  const { classes } = parts;
  if (parts.imported) {
    const { model, backbone } = parts.imported;
    expectExportable(model, { replaceOutput, output: backbone.output });
  }
  const imported = parts.imported && { ...parts.imported, model: upgradeOperators(parts.imported.model) };
  const opset = imported?.model.opset ?? ownOpset;
  if (replaceOutput && imported === undefined) {
    throw new KdSpecError(
      'option-invalid',
      '--replace-output is for an imported model: an ensemble of our own has no output of before',
    );
  }
  if (withPreprocessing && parts.generalist.definition.input.isFeatures) {
    throw new KdSpecError(
      'option-invalid',
      'the generalist takes rows of features, which need no preprocessing: leave out --with-preprocessing',
    );
  }
  if (replaceOutput && trace && imported?.backbone.blank !== null) {
    throw new KdSpecError(
      'option-invalid',
      'with --replace-output a sequence recogniser is fused at every step, which has no trace: leave out --trace',
    );
  }
  const host = await hostParts(parts, weights);
  const before = imported && readExportedMetadata(imported.model);
  const exports = (before?.exports ?? 0) + 1;
  const prefix = exports > 1 ? `kd_spec_${exports}_` : 'kd_spec_';
  const graph = imported
    ? create(GraphProtoSchema, {
        ...imported.model.graph,
        node: [...imported.model.graph.node],
        initializer: [...imported.model.graph.initializer],
        input: [...imported.model.graph.input],
        output: [...imported.model.graph.output],
      })
    : create(GraphProtoSchema, { name: 'kd-spec ensemble' });
  const writer = createGraphWriter(graph, opset, { prefix });
  const written: Written = imported
    ? writeOnImported(writer, graph, host, {
        ...imported,
        before,
        prefix,
        replaced: before?.imported?.replaced ?? (replaceOutput ? imported.backbone.output : null),
        weights,
      })
    : writeOwn(writer, parts, host, weights);

  let { feed } = written;
  if (withPreprocessing) {
    writePreprocessing(writer, graph, feed);
    feed = bytesIn(feed);
  }
  if (!imported || withPreprocessing) graph.input = [imageInfo(feed), ...otherInputs(graph, feed.name)];
  const { outputs, fused, metadata } = writeOutputs(writer, graph, host, written, {
    trace: trace || (before?.traces.length ?? 0) > 0, // a file that names specialists goes on to name all
    before,
    isRefitted: imported?.isRefitted === true,
  });
  sortNodes(graph);
  removeUnused(graph, prefix);

  const { name, form, reading, batch } = feed;
  const { rule, specialists, generalistTemperature, labelNoise } = host.fusion;
  const spread = before?.labelNoise ?? labelNoise; // of what the fusion starts from, where that was fused before
  const all: ExportedMetadata = {
    version: 1,
    exports,
    rule: rule.name,
    ...(before === undefined && { generalistTemperature }),
    ...(spread > 0 && { labelNoise: spread }),
    specialists: specialists.length + (before?.specialists ?? 0),
    ...metadata,
  };
  const metadataProps = entriesOf(imported?.model, {
    [fusedOutputKey]: fused,
    [imported ? fusedNamesKey : 'names']: JSON.stringify(classes),
    [inputKey]: JSON.stringify({ name, ...form, batch: batch ?? null, reading }),
    [ensembleKey]: JSON.stringify(all),
  });
  const proto = imported
    ? await withData(
        {
          ...imported.model,
          proto: create(ModelProtoSchema, {
            ...imported.model.proto,
            irVersion:
              imported.model.proto.irVersion > leastIrVersion
                ? imported.model.proto.irVersion
                : leastIrVersion,
            metadataProps,
          }),
        },
        graph,
      )
    : create(ModelProtoSchema, {
        irVersion,
        producerName: 'kd-spec',
        producerVersion: packageVersion(),
        opsetImport: [create(OperatorSetIdProtoSchema, { domain: '', version: BigInt(opset) })],
        graph,
        metadataProps,
      });
  return { proto, feed, outputs, fused, metadata: all };
}

/**
 * The bytes of a model's file.
 *
 * @throws KdSpecError `checkpoint-invalid` for a model over 2 GB, which is no file by itself
 */
export function modelBytes({ proto }: Pick<ExportedModel, 'proto'>): Uint8Array {
  if (!proto.graph || !isLarge(proto.graph)) return toBinary(ModelProtoSchema, proto);
  throw invalid(
    'the exported model',
    'it has over 2 GB: write it to a file (kd-spec export --out FILE), and use that with the native ONNX Runtime',
  );
}

/** The same model with what its last patch did in its metadata, as measured. */
export function withPatchRecord(model: ExportedModel, patch: PatchRecord): ExportedModel {
  const metadata = { ...model.metadata, patches: [...model.metadata.patches, patch] };
  const metadataProps = model.proto.metadataProps.map((entry) =>
    entry.key === ensembleKey ? { ...entry, value: JSON.stringify(metadata) } : entry,
  );
  return { ...model, metadata, proto: create(ModelProtoSchema, { ...model.proto, metadataProps }) };
}

/** A graph with the fusion in it, before it has outputs. */
interface Written {
  readonly feed: ImageFeed;
  /** (batch, classes) each, but for the trace. */
  readonly values: FusionOutputs;
  readonly imported: ExportedMetadata['imported'];
  /** The output with the fused distribution of an earlier patch, which is to hold that of this one. */
  readonly earlier?: string | undefined;
}

function writeOwn(
  writer: GraphWriter,
  { generalist: { definition } }: ExportedParts,
  { values, layers, takesHidden, fusion }: HostParts,
  weights: WeightPrecision,
): Written {
  const { input } = definition;
  const name = input.isFeatures ? 'features' : 'images';
  const features = input.isFeatures ? name : writeConvolutions(writer, name, definition, values, weights);
  const hidden =
    definition.dense.length === 0
      ? features
      : writer.node('Relu', [
          writeDense(writer, features, layers.slice(0, definition.dense.length), weights),
        ]);
  const width = hiddenFeatures(definition);
  const logits = definition.copiesLogits
    ? writer.slice(hidden, 1, width - definition.outputs, width)
    : writeDense(writer, hidden, layers.slice(-1), weights);
  const { channels } = input;
  const reading: Reading = {
    order: 'rgb',
    normalisation: {
      name: input.isFeatures ? 'as stored' : '0 to 1',
      mean: Array.from({ length: channels }, () => 0),
      deviation: Array.from({ length: channels }, () => 1),
    },
  };
  return {
    feed: {
      name,
      form: { type: 'float32', layout: input.isFeatures ? 'flat' : 'channels-first', image: input },
      reading,
    },
    values: writeFusion(writer, { logits, features: takesHidden ? hidden : features }, fusion),
    imported: null,
  };
}

function writeOnImported(
  writer: GraphWriter,
  graph: GraphProto,
  { layers, fusion }: HostParts,
  {
    model,
    backbone,
    isRefitted,
    before,
    prefix,
    replaced,
    weights,
  }: NonNullable<ExportedParts['imported']> & {
    readonly before: ExportedMetadata | undefined;
    readonly prefix: string;
    /** The output to replace. */
    readonly replaced: string | null;
    /** Of a refitted layer. */
    readonly weights: WeightPrecision;
  },
): Written {
  const { blank, input, reading } = backbone;
  const { classes } = fusion;
  // The fused output of an earlier patch is an input of this one, which takes its name.
  const earlier = before && model.metadata.get(fusedOutputKey);
  const start = earlier === undefined ? undefined : `${prefix}start`;
  if (earlier !== undefined && start !== undefined) renameValue(graph, earlier, start);
  // So is the output that is replaced: what was there is read on, under another name.
  if (replaced !== null) renameValue(graph, replaced, `${prefix}replaced`);
  const own = replaced === backbone.output ? `${prefix}replaced` : backbone.output;
  const everyStep = replaced !== null && blank !== null;
  const described = { ...backbone, output: own };
  const from = writeImported(writer, modelOf(model, graph), described, { classes, everyStep });
  // Imported heads stand on the features alone.
  const head = layers.slice(-1);
  const logits = isRefitted
    ? writeDense(writer, from.features, head, weights)
    : (from.logits ?? writeDense(writer, from.features, head));
  const values = writeFusion(writer, { logits, features: from.features, start }, fusion);
  if (replaced !== null) {
    const of = { blank, classes };
    const value = writeReplacement(writer, modelOf(model, graph), own, values.probabilities, of);
    writer.name(castAs(writer, graph, replaced, value), replaced);
  }
  return {
    feed: { name: input.name, form: formOf(input), reading, batch: input.batch ?? undefined },
    values: {
      probabilities: from.pick(values.probabilities, classes),
      generalist: from.pick(values.generalist, classes),
      ...(values.trace && !everyStep && { trace: values.trace }),
    },
    imported: { logits: own, blank, replaced },
    earlier,
  };
}

const formOf = ({ type, layout, image }: ImageFeed['form']): ImageFeed['form'] => ({ type, layout, image });

/** A model as it is after values were given other names. */
function modelOf(model: OnnxModel, graph: GraphProto): OnnxModel {
  const producers = new Map(graph.node.flatMap((node) => node.output.map((name) => [name, node] as const)));
  return { ...model, graph, producers };
}

function castAs(writer: GraphWriter, graph: GraphProto, output: string, value: string): string {
  const type = elementTypeOf(graph, output);
  if (type === 'float32') return value;
  if (type !== undefined) return writer.castTo(value, type);
  throw new KdSpecError(
    'option-invalid',
    `the output "${output}" does not hold real numbers: leave out --replace-output`,
  );
}

/** Names what the fusion made, and declares it. */
function writeOutputs(
  writer: GraphWriter,
  graph: GraphProto,
  { fusion }: HostParts,
  { values, imported, earlier }: Written,
  {
    trace,
    before,
    isRefitted,
  }: {
    readonly trace: boolean;
    readonly before: ExportedMetadata | undefined;
    readonly isRefitted: boolean;
  },
) {
  const { classes, specialists } = fusion;
  const taken = valueNames(graph);
  const free = (name: string): string => (taken.has(name) ? free(`kd_spec_${name}`) : name);
  const add = (value: string, name: string, shape: readonly (number | string)[]) => {
    writer.name(value, name);
    if (!graph.output.some((info) => info.name === name)) graph.output.push(valueInfo(name, shape));
    return name;
  };
  const fused = add(values.probabilities, earlier ?? free('probabilities'), ['batch', classes]);
  // Specialists of an earlier patch may stand on a refitted layer, those of this one stand on the model's own.
  const kept = before?.isRefitted ? undefined : before?.generalist;
  const generalist = kept ?? add(values.generalist, free('generalist'), ['batch', classes]);
  const outputs = [fused, generalist];
  const traces = [...(before?.traces ?? [])];
  if (trace && values.trace) {
    const number = traces.length === 0 ? '' : `_${traces.length + 1}`;
    const traced = values.trace();
    const ids = add(traced.ids, free(`specialist_ids${number}`), ['batch', 'slots']);
    const probabilities = add(traced.probabilities, free(`specialist_probabilities${number}`), [
      'batch',
      'slots',
      'outcomes',
    ]);
    outputs.push(ids, probabilities);
    traces.push({
      ids,
      probabilities,
      specialists: specialists.map(({ id, classes, correction }) => ({
        id,
        classes: Array.from(classes),
        correction,
      })),
    });
  }
  const metadata = {
    generalist,
    imported,
    traces,
    patches: before?.patches ?? [],
    ...(isRefitted && { isRefitted }),
  };
  return { outputs, fused, metadata };
}

/** Inputs beside the images: old models list their weights among them. */
function otherInputs(graph: GraphProto, name: string) {
  return graph.input.filter((info) => info.name !== name);
}

/** The metadata of a model with ours in place of those that an earlier export wrote. */
function entriesOf(model: OnnxModel | undefined, entries: Readonly<Record<string, string>>) {
  const kept = model?.proto.metadataProps.filter(({ key }) => !Object.hasOwn(entries, key)) ?? [];
  return [
    ...kept,
    ...Object.entries(entries).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value })),
  ];
}

/** Leaves out what was added and no output needs: a rule has no use for all tables. Nodes stand in the order they run. */
function removeUnused(graph: GraphProto, ours: string): void {
  const needed = new Set(graph.output.map(({ name }) => name));
  const isKept = graph.node.toReversed().map((node) => {
    const isNeeded = node.output.some((name) => needed.has(name)) || !node.name.startsWith(ours);
    if (isNeeded) for (const name of neededBy(node)) needed.add(name);
    return isNeeded;
  });
  graph.node = graph.node.filter((_, position) => isKept[isKept.length - 1 - position]);
  graph.initializer = graph.initializer.filter(({ name }) => needed.has(name) || !name.startsWith(ours));
}
