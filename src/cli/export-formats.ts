import { basename, join } from 'node:path';
import { KdSpecError } from '../core/errors.js';
import type { JsonObject } from '../core/json.js';
import { percent } from '../core/percent.js';
import { byteSize, count } from '../core/quantity-text.js';
import type { NetworkEnsemble } from '../ensemble/ensemble.js';
import type { ExportedModel, ExportOptions } from '../ensemble/export/export-onnx.js';
import type { CardFacts } from '../evaluation/model-card.js';
import { alignColumns } from './summary.js';

// What an ensemble is exported as. Modules that load a runtime or read images are imported by the writer that needs them:
// the names and flags that stand here are those of the help, which loads no more.

export const exportFormatNames = ['onnx', 'safetensors', 'hf', 'web'] as const;
export type ExportFormatName = (typeof exportFormatNames)[number];

/** Flags that do something for some formats alone. */
export const formatFlags = [
  'weights',
  'trace',
  'replace-output',
  'with-preprocessing',
  'license',
  'external-data',
] as const;
type FormatFlag = (typeof formatFlags)[number];

/** What is chosen for an export. */
export interface ExportChoices extends Required<ExportOptions> {
  readonly workspace: string;
  readonly model: 'ensemble' | 'student';
  /** For a card. */
  readonly licence: string | undefined;
  readonly isExternal: boolean;
}

/** What a command prints. */
interface Printed {
  readonly json: JsonObject;
  readonly text: string;
}

interface ExportFormat {
  /** Those that change what is written. */
  readonly flags: readonly FormatFlag[];
  /** What it writes, for whom it refuses a flag. */
  readonly writes: string;
  readonly place: 'file' | 'folder';
  /** Writes an ensemble; an earlier export at `path` is replaced. */
  write(path: string, ensemble: NetworkEnsemble, choices: ExportChoices): Promise<Printed>;
}

export const exportFormats: Readonly<Record<ExportFormatName, ExportFormat>> = {
  onnx: {
    flags: ['weights', 'trace', 'replace-output', 'with-preprocessing', 'external-data'],
    writes: 'the model alone, without a card',
    place: 'file',
    write: (path, ensemble, choices) =>
      writeGraph(path, ensemble, choices, {
        format: 'onnx',
        async store({ proto }) {
          const { writeOnnxModel } = await import('../models/onnx/write-model.js');
          return writeOnnxModel(path, proto, { isExternal: choices.isExternal });
        },
      }),
  },
  safetensors: {
    flags: [],
    writes: 'the weights of the networks as they were trained, in fp32, and no graph',
    place: 'file',
    write: writeTensors,
  },
  hf: {
    flags: ['weights', 'trace', 'replace-output', 'with-preprocessing', 'license'],
    writes: 'the model with its weights inside, or beside it where it has over 2 GB',
    place: 'folder',
    write: (path, ensemble, choices) =>
      writeGraph(path, ensemble, choices, {
        format: 'hf',
        async store(model) {
          const { writeHuggingFaceFolder } = await import('../ensemble/export/hugging-face-folder.js');
          const card = await cardOf(basename(path), model, ensemble, choices);
          const { classes } = ensemble;
          return { files: [path], bytes: await writeHuggingFaceFolder(path, model, { classes, card }) };
        },
      }),
  },
  web: {
    flags: ['weights', 'trace', 'replace-output'],
    writes: 'a page without a card, whose model is one file and takes uint8 images in any case',
    place: 'folder',
    write(path, ensemble, choices) {
      const { classes, generalist } = ensemble;
      if (generalist.definition.input.isFeatures) {
        throw new KdSpecError(
          'option-invalid',
          'the page of --format web classifies images, and the generalist takes rows of features: take --format onnx or hf',
        );
      }
      const prepared = { ...choices, withPreprocessing: true };
      return writeGraph(path, ensemble, prepared, {
        format: 'web',
        async store(model) {
          const { writeWebFolder } = await import('../ensemble/export/web-folder.js');
          const title = `Which of ${count(classes.length)} classes?`;
          return { files: [path], bytes: await writeWebFolder(path, model, { classes, title }) };
        },
      });
    },
  },
};

/**
 * Refuses a flag that would change nothing of what a format writes: who gives it expects that it does.
 *
 * @param given the names of all flags on the command line
 * @throws KdSpecError `usage`
 */
export function expectFlagsOfFormat(format: ExportFormatName, given: readonly string[]): void {
  const { flags, writes } = exportFormats[format];
  const refused = formatFlags.find((flag) => given.includes(flag) && !flags.includes(flag));
  if (refused === undefined) return;
  const others = exportFormatNames.filter((name) => exportFormats[name].flags.includes(refused));
  const names = [others.slice(0, -1).join(', '), ...others.slice(-1)].filter((part) => part !== '');
  throw new KdSpecError(
    'usage',
    `--${refused} is for --format ${names.join(' and ')}; --format ${format}${format === 'onnx' ? ', the default,' : ''} ` +
      `writes ${writes}: leave out --${refused}, or take ${others.length === 1 ? 'that format' : 'one of those formats'}`,
  );
}

/**
 * Writes an ensemble as a graph, after comparing both on images.
 *
 * @param options.store writes the graph in the way of its format
 * @throws KdSpecError `option-invalid` for what has no form as a graph
 */
async function writeGraph(
  path: string,
  ensemble: NetworkEnsemble,
  choices: ExportChoices,
  {
    format,
    store,
  }: {
    readonly format: ExportFormatName;
    readonly store: (
      model: ExportedModel,
    ) => Promise<{ readonly files: readonly string[]; readonly bytes: number }>;
  },
): Promise<Printed> {
  const { exportOnnx, withPatchRecord } = await import('../ensemble/export/export-onnx.js');
  const { exportedParts } = await import('../ensemble/export/exported-parts.js');
  const { compareExported } = await import('./compare-exported.js');
  const { readPatchRecord } = await import('./patch-record.js');
  const { workspace, weights } = choices;
  const patch = choices.model === 'ensemble' ? await readPatchRecord(workspace) : undefined;
  const written = await exportOnnx(await exportedParts(ensemble, generalistFolder(choices)), choices);
  const model = patch === undefined ? written : withPatchRecord(written, patch);
  const compared = await compareExported(model, ensemble, workspace, { weights });
  const { files, bytes } = await store(model);
  const { feed, outputs, metadata } = model;
  const json = {
    file: path,
    format,
    files: [...files],
    inputs: [feed.name],
    outputs: [...outputs],
    classes: ensemble.classes.length,
    specialists: metadata.specialists,
    rule: metadata.rule,
    weights,
    bytes,
    ...compared,
  };
  const { form } = feed;
  const shape = {
    'channels-first': '(batch, channels, height, width)',
    'channels-last': '(batch, height, width, channels)',
    flat: '(batch, values)',
  }[form.layout];
  const range = form.type === 'uint8' ? '0 to 255' : feed.reading.normalisation.name;
  const { validation, images, maxDifference } = compared;
  const text = alignColumns([
    ['model', `${files.join(', ')}, ${byteSize(bytes)}`],
    ['input', `${feed.name}: ${shape}, ${form.type}, ${range}`],
    ...shapesOf(model).map((line, index) => [index === 0 ? 'outputs' : '', line]),
    ['agrees', `within ${maxDifference.toExponential(1)} on ${count(images)} images`],
    ...(validation
      ? [
          [
            'accuracy',
            `top-1 ${percent(validation.exported)} with weights in ${weights}, ` +
              `${percent(validation.ensemble)} without, on ${count(validation.images)} validation images`,
          ],
        ]
      : []),
  ]);
  return { json, text };
}

/** The outputs of an exported model, those of one shape in a line: `probabilities, generalist: (batch, 3,000)`. */
function shapesOf({ outputs, proto }: ExportedModel): readonly string[] {
  const names = new Map<string, string[]>();
  for (const name of outputs) {
    const type = proto.graph?.output.find((info) => info.name === name)?.type?.value;
    const dims = type?.case === 'tensorType' ? (type.value.shape?.dim ?? []) : [];
    const extents = dims.map(({ value }) =>
      value.case === 'dimValue' ? count(Number(value.value)) : value.value,
    );
    const shape = `(${extents.join(', ')})`;
    names.set(shape, [...(names.get(shape) ?? []), name]);
  }
  return [...names].map(([shape, of]) => `${of.join(', ')}: ${shape}`);
}

/** Writes the weights of generalist and specialists, also of those that take no part: they need no graph. */
async function writeTensors(
  path: string,
  ensemble: NetworkEnsemble,
  { workspace, model: which }: ExportChoices,
): Promise<Printed> {
  const { writeEnsembleTensors } = await import('../ensemble/export/hugging-face-folder.js');
  const { readSpecialists } = await import('../ensemble/ensemble.js');
  const { classes, generalist, settings, specialistCount } = ensemble;
  const hasSpecialists = ensemble.specialists.length > 0; // a student has none
  const specialists = hasSpecialists ? await readSpecialists(join(workspace, 'specialists'), generalist) : [];
  const bytes = await writeEnsembleTensors(path, ensemble, specialists);
  const idle = specialists.length - specialistCount;
  const networks = [
    which === 'student' ? 'the student' : 'the generalist',
    ...(hasSpecialists
      ? [`${count(specialists.length)} ${specialists.length === 1 ? 'specialist' : 'specialists'}`]
      : []),
  ];
  const json = {
    file: path,
    format: 'safetensors',
    files: [path],
    classes: classes.length,
    specialists: specialistCount,
    ...(idle > 0 && { storedSpecialists: specialists.length }),
    rule: settings.rule,
    weights: 'fp32',
    bytes,
  };
  const text = alignColumns([
    ['weights', `${path}, ${byteSize(bytes)}, fp32`],
    [
      'of',
      networks.join(' and ') +
        (idle > 0 ? `, of which ${count(idle)} ${idle === 1 ? 'takes' : 'take'} no part` : ''),
    ],
    ...(generalist.backbone === undefined
      ? []
      : [['without', 'the imported model below the last layer, which its own file has']]),
  ]);
  return { json, text };
}

async function cardOf(
  name: string,
  model: ExportedModel,
  { classes }: NetworkEnsemble,
  { workspace, model: which, licence, weights }: ExportChoices,
): Promise<string> {
  const { preparation } = await import('../ensemble/export/hugging-face-folder.js');
  const { modelCard } = await import('../evaluation/model-card.js');
  const { openDataset } = await import('../data/dataset.js');
  const { readReport } = await import('../evaluation/report-schema.js');
  const { description } = await openDataset(join(workspace, 'dataset'));
  const { feed, metadata, outputs, proto } = model;
  const { rule, specialists } = metadata;
  const given = licence === undefined ? licenceOf(proto) : { name: licence, isFromModel: false };
  const student = which === 'student' ? await studentFigures(workspace) : undefined;
  const { isFeatures, width, logits = 0 } = feed.form.image;
  const row = isFeatures && { features: width - logits, logits };
  const facts = { rule, specialists, outputs, weights, student, classes: classes.length, input: feed.name };
  return modelCard(
    { name, licence: given, description, row, preparation: preparation(feed), ...facts },
    await readReport(join(workspace, 'report', 'report.json')),
  );
}

/** The licence that the metadata of a model name: those of an imported one are in what is exported of it. */
function licenceOf({ metadataProps }: ExportedModel['proto']): CardFacts['licence'] {
  const named = metadataProps.find(({ key, value }) => /^licen[cs]e$/i.test(key) && value.trim() !== '');
  return named && { name: named.value.trim(), isFromModel: true };
}

/** What the student of a workspace reaches on test images; null where nothing measured it. */
async function studentFigures(workspace: string): Promise<CardFacts['student']> {
  const { findManifest } = await import('../core/artefact.js');
  const { openDataset } = await import('../data/dataset.js');
  const { countLabels } = await import('../data/label-counts.js');
  const { metricsOf } = await import('../pipeline/stage-metrics.js');
  const manifest = await findManifest(join(workspace, 'student'));
  const test = metricsOf('student', manifest?.metrics ?? {})?.test;
  if (test === undefined) return null;
  // Distillation measures every test image.
  const { splits, classes } = await openDataset(join(workspace, 'dataset'));
  const images = await countLabels(splits.test, classes.length);
  return { ...test, classes: images.filter((count) => count > 0).length };
}

/** The artefact of the network that an ensemble has as its generalist. */
const generalistFolder = ({ workspace, model }: ExportChoices) =>
  join(workspace, model === 'student' ? 'student' : 'generalist');
