import { basename, join, resolve } from 'node:path';
import type { CommandModule } from 'yargs';
import { dropLeftoversOf, expectWritable } from '../../core/atomic-file.js';
import { KdSpecError } from '../../core/errors.js';
import type { JsonObject } from '../../core/json.js';
import { percent } from '../../core/percent.js';
import { byteSize, count } from '../../core/quantity-text.js';
import type { NetworkEnsemble } from '../../ensemble/ensemble.js';
import type { ExportedModel, ExportOptions } from '../../ensemble/export/export-onnx.js';
import type { CardFacts } from '../../evaluation/model-card.js';
import { headRivals } from '../../evaluation/rivals/rival.js';
import type { Settings } from '../../pipeline/options.js';
import { addFlags, flagsOf } from '../command-line.js';
import { type CommandContext, printResult } from '../context.js';
import { alignColumns } from '../summary.js';

// Modules that load a runtime or read images are imported where they are needed, so that every other command starts
// without them.

const precisions = ['fp32', 'fp16', 'int8'] as const;
const formats = ['onnx', 'safetensors', 'hf', 'web'] as const;

/** What concerns the ensemble, or another form of file. */
const notWithRefit = [
  'format',
  'model',
  'weights',
  'trace',
  'replace-output',
  'with-preprocessing',
  'license',
] as const;

/** What is chosen on the command line. */
interface ExportChoices extends Required<ExportOptions> {
  readonly format: (typeof formats)[number];
  readonly model: 'ensemble' | 'student';
  /** For a card. */
  readonly licence: string | undefined;
  readonly isExternal: boolean;
}

/** The command that writes an ensemble for other programs. */
export function exportCommand(context: CommandContext): CommandModule {
  return {
    command: 'export',
    describe: 'Write generalist, specialists and fusion of a workspace for other programs',
    builder: (yargs) =>
      addFlags(
        yargs
          .option('out', {
            type: 'string',
            requiresArg: true,
            describe: 'Write to this file, or with --format hf or web to this folder',
          })
          .option('format', {
            type: 'string',
            requiresArg: true,
            choices: formats,
            defaultDescription: 'onnx',
            describe:
              'Choose the format: one ONNX model; the weights alone (safetensors); a folder as hubs of models keep one, with class names, preprocessing and a card (hf); a folder of static files with a page that classifies dropped images in the browser (web)',
          })
          .option('model', {
            type: 'string',
            requiresArg: true,
            choices: ['ensemble', 'student'],
            defaultDescription: 'ensemble',
            describe: 'Export the ensemble, or the student alone',
          })
          .option('refit', {
            type: 'string',
            requiresArg: true,
            choices: headRivals,
            describe:
              'Write, instead of the ensemble, the generalist with the last layer of this rival, as kd-spec rivals chose it; an imported model keeps its inputs, outputs and names',
          })
          .option('weights', {
            type: 'string',
            requiresArg: true,
            choices: precisions,
            defaultDescription: 'fp32',
            describe:
              'Store the weights that are added in this precision; what it costs is measured on validation images',
          })
          .option('trace', {
            type: 'boolean',
            describe: 'Add outputs with what the queried specialists predict',
          })
          .option('replace-output', {
            type: 'boolean',
            describe: "Put the fused distribution where an imported model's own output was, too",
          })
          .option('with-preprocessing', {
            type: 'boolean',
            describe: 'Take uint8 images (batch, height, width, channels), red first; the model scales them',
          })
          .option('license', {
            type: 'string',
            requiresArg: true,
            describe:
              'State this licence in the card of --format hf: that of the model it was made of, such as apache-2.0',
          })
          .option('external-data', {
            type: 'boolean',
            describe: 'Write the weights to a second file, FILE.data',
          }),
        [],
      ),
    handler: async (argv) => {
      if (typeof argv.out !== 'string') throw new KdSpecError('usage', 'expected where to write: --out FILE');
      const { resolveSettings } = await import('../../pipeline/settings.js');
      const { settings } = await resolveSettings(flagsOf(argv, []), context.env, { folder: context.folder });
      const format = formats.find((name) => name === argv.format) ?? 'onnx';
      const out = resolve(context.folder, argv.out);
      await expectWritable(out, format === 'hf' || format === 'web' ? 'folder' : 'file');
      const isExternal = argv['external-data'] === true;
      const { expectEarlierExport } = await import('../earlier-export.js');
      await expectEarlierExport(out, { format, isExternal });
      await dropLeftoversOf(out);
      if (typeof argv.refit === 'string') {
        const others = Object.keys(argv).filter((flag) => notWithRefit.some((one) => one === flag));
        if (others.length > 0) {
          throw new KdSpecError(
            'usage',
            `--refit writes an ONNX model with another last layer and nothing else: leave out --${others[0]}; ` +
              'import the file (kd-spec run --onnx FILE) for what else there is',
          );
        }
        const { exportRefitted } = await import('../export-refitted.js');
        const result = await exportRefitted(out, argv.refit, settings, { isExternal });
        printResult(context, result, settings.json);
        return;
      }
      const result = await exportEnsemble(out, settings, {
        format,
        licence: typeof argv.license === 'string' ? argv.license : undefined,
        model: argv.model === 'student' ? 'student' : 'ensemble',
        weights: precisions.find((name) => name === argv.weights) ?? 'fp32',
        trace: argv.trace === true,
        replaceOutput: argv['replace-output'] === true,
        withPreprocessing: argv['with-preprocessing'] === true || format === 'web',
        isExternal,
      });
      printResult(context, result, settings.json);
    },
  };
}

/**
 * Writes the ensemble of a workspace, an ONNX model after comparing both on images.
 *
 * @param path where to write; an earlier export there is replaced
 * @throws KdSpecError `option-invalid` for what has no form as a graph, `not-found` without an ensemble
 */
async function exportEnsemble(
  path: string,
  { workspace, backend }: Settings,
  { format, model: which, isExternal, licence, ...options }: ExportChoices,
): Promise<{ readonly json: JsonObject; readonly text: string }> {
  const { loadNetworkEnsemble, networkAsEnsemble } = await import('../../ensemble/ensemble.js');
  const { studentFolder } = await import('../../distillation/student.js');
  const { exportOnnx } = await import('../../ensemble/export/export-onnx.js');
  const { exportedParts } = await import('../../ensemble/export/exported-parts.js');
  const ensemble =
    which === 'student'
      ? await networkAsEnsemble(studentFolder(workspace), { backend, name: 'the student' })
      : await loadNetworkEnsemble(workspace, { backend });
  try {
    const folder = join(workspace, which === 'student' ? 'student' : 'generalist');
    const model = await exportOnnx(await exportedParts(ensemble, folder), options);
    const { compareExported } = await import('../compare-exported.js');
    const compared = await compareExported(model, ensemble, workspace, { weights: options.weights });
    const { feed, outputs, metadata } = model;
    const { classes } = ensemble;
    const { files, bytes } = await write(path, model, ensemble, {
      format,
      model: which,
      workspace,
      licence,
      isExternal,
      weights: options.weights,
    });
    const json = {
      file: path,
      format,
      files: [...files],
      inputs: [feed.name],
      outputs: [...outputs],
      classes: classes.length,
      specialists: metadata.specialists,
      rule: metadata.rule,
      weights: options.weights,
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
              `top-1 ${percent(validation.exported)} with weights in ${options.weights}, ` +
                `${percent(validation.ensemble)} without, on ${count(validation.images)} validation images`,
            ],
          ]
        : []),
    ]);
    return { json, text };
  } finally {
    ensemble.dispose();
  }
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

/** Writes what was exported in a format. */
async function write(
  path: string,
  model: ExportedModel,
  ensemble: NetworkEnsemble,
  {
    format,
    model: which,
    workspace,
    licence,
    isExternal,
    weights,
  }: Pick<ExportChoices, 'format' | 'model' | 'licence' | 'isExternal' | 'weights'> & {
    readonly workspace: string;
  },
): Promise<{ readonly files: readonly string[]; readonly bytes: number }> {
  const { classes } = ensemble;
  const title = `Which of ${count(classes.length)} classes?`;
  switch (format) {
    case 'onnx': {
      const { writeOnnxModel } = await import('../../models/onnx/write-model.js');
      return writeOnnxModel(path, model.proto, { isExternal });
    }
    case 'web': {
      const { writeWebFolder } = await import('../../ensemble/export/web-folder.js');
      return { files: [path], bytes: await writeWebFolder(path, model, { classes, title }) };
    }
    case 'safetensors': {
      const { writeEnsembleTensors } = await import('../../ensemble/export/hugging-face-folder.js');
      const { readSpecialists } = await import('../../ensemble/ensemble.js');
      const hasSpecialists = ensemble.specialists.length > 0; // a student has none
      const specialists = hasSpecialists
        ? await readSpecialists(join(workspace, 'specialists'), ensemble.generalist)
        : [];
      return { files: [path], bytes: await writeEnsembleTensors(path, ensemble, specialists) };
    }
    case 'hf': {
      const { preparation, writeHuggingFaceFolder } = await import(
        '../../ensemble/export/hugging-face-folder.js'
      );
      const { modelCard } = await import('../../evaluation/model-card.js');
      const { openDataset } = await import('../../data/dataset.js');
      const { readReport } = await import('../../evaluation/report-schema.js');
      const { description } = await openDataset(join(workspace, 'dataset'));
      const { feed, metadata, outputs } = model;
      const { rule, specialists } = metadata;
      const student = which === 'student' ? await studentFigures(workspace) : undefined;
      const facts = {
        rule,
        specialists,
        outputs,
        weights,
        student,
        classes: classes.length,
        input: feed.name,
      };
      const card = modelCard(
        { name: basename(path), licence, description, preparation: preparation(feed), ...facts },
        await readReport(join(workspace, 'report', 'report.json')),
      );
      return { files: [path], bytes: await writeHuggingFaceFolder(path, model, { classes, card }) };
    }
  }
}

/** What the student of a workspace reaches on test images; null where nothing measured it. */
async function studentFigures(workspace: string): Promise<CardFacts['student']> {
  const { findManifest } = await import('../../core/artefact.js');
  const { metricsOf } = await import('../../pipeline/stage-metrics.js');
  const manifest = await findManifest(join(workspace, 'student'));
  return metricsOf('student', manifest?.metrics ?? {})?.test ?? null;
}
