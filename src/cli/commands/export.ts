import { resolve } from 'node:path';
import type { CommandModule } from 'yargs';
import { dropLeftoversOf, expectWritable } from '../../core/atomic-file.js';
import { KdSpecError } from '../../core/errors.js';
import type { JsonObject } from '../../core/json.js';
import { writtenRivals } from '../../evaluation/rivals/rival.js';
import type { Settings } from '../../pipeline/options.js';
import { addFlags } from '../command-line.js';
import { type CommandContext, printResult } from '../context.js';
import {
  type ExportChoices,
  type ExportFormatName,
  expectFlagsOfFormat,
  exportFormatNames,
  exportFormats,
  formatFlags,
} from '../export-formats.js';

// Modules that load a runtime or read images are imported where they are needed, so that every other command starts
// without them.

const precisions = ['fp32', 'fp16', 'int8'] as const;

/** What concerns the ensemble, or another form of file. */
const notWithRefit = ['format', 'model', ...formatFlags.filter((flag) => flag !== 'external-data')];

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
            choices: exportFormatNames,
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
            choices: writtenRivals,
            describe:
              'Write, instead of the ensemble, the generalist with the last layer of this rival, as kd-spec rivals chose it, or with the training features that neighbours are sought among; an imported model keeps its inputs, outputs and names',
          })
          .option('weights', {
            type: 'string',
            requiresArg: true,
            choices: precisions,
            defaultDescription: 'fp32',
            describe:
              'Store the weights that are added in this precision; what it costs is measured on validation images (--format onnx, hf, web)',
          })
          .option('trace', {
            type: 'boolean',
            describe: 'Add outputs with what the queried specialists predict (--format onnx, hf, web)',
          })
          .option('replace-output', {
            type: 'boolean',
            describe:
              "Put the fused distribution where an imported model's own output was, too (--format onnx, hf, web)",
          })
          .option('with-preprocessing', {
            type: 'boolean',
            describe:
              'Take uint8 images (batch, height, width, channels), red first; the model scales them (--format onnx, hf; that of web does in any case)',
          })
          .option('license', {
            type: 'string',
            requiresArg: true,
            describe:
              'State this licence in the card of --format hf: that of the model it was made of, such as apache-2.0, if its metadata do not name it',
          })
          .option('external-data', {
            type: 'boolean',
            describe: 'Write the weights to a second file, FILE.data (--format onnx)',
          }),
        [],
      ),
    handler: async (argv) => {
      expectOnce(argv);
      if (typeof argv.out !== 'string') throw new KdSpecError('usage', 'expected where to write: --out FILE');
      const format = exportFormatNames.find((name) => name === argv.format) ?? 'onnx';
      if (typeof argv.refit === 'string') expectFlagsOfRefit(argv);
      else expectFlagsOfFormat(format, Object.keys(argv));
      if (argv.model === 'student' && argv.trace === true)
        throw new KdSpecError('usage', '--trace names specialists, and a student has none: leave it out');
      const { commandSettings } = await import('../command-settings.js');
      const settings = await commandSettings(argv, context);
      const out = resolve(context.folder, argv.out);
      await expectWritable(out, exportFormats[format].place);
      const isExternal = argv['external-data'] === true;
      const { expectEarlierExport } = await import('../earlier-export.js');
      await expectEarlierExport(out, { format, isExternal });
      await dropLeftoversOf(out);
      if (typeof argv.refit === 'string') {
        const { exportRefitted } = await import('../export-refitted.js');
        const result = await exportRefitted(out, argv.refit, settings, { isExternal });
        printResult(context, result, settings.json);
        return;
      }
      const result = await exportEnsemble(out, format, {
        workspace: settings.workspace,
        backend: settings.backend,
        licence: typeof argv.license === 'string' ? argv.license : undefined,
        model: argv.model === 'student' ? 'student' : 'ensemble',
        weights: precisions.find((name) => name === argv.weights) ?? 'fp32',
        trace: argv.trace === true,
        replaceOutput: argv['replace-output'] === true,
        withPreprocessing: argv['with-preprocessing'] === true,
        isExternal,
      });
      printResult(context, result, settings.json);
    },
  };
}

/** Refuses a flag that stands twice: yargs makes a list of it, which no flag here takes. */
function expectOnce(argv: Readonly<Record<string, unknown>>): void {
  for (const flag of ['out', 'refit', 'format', 'model', ...formatFlags]) {
    const value = argv[flag];
    if (Array.isArray(value))
      throw new KdSpecError('usage', `--${flag} was given ${value.length} times: give it once`);
  }
}

function expectFlagsOfRefit(argv: Readonly<Record<string, unknown>>): void {
  const other = Object.keys(argv).find((flag) => notWithRefit.includes(flag));
  if (other === undefined) return;
  throw new KdSpecError(
    'usage',
    `--refit writes an ONNX model with another last layer and nothing else: leave out --${other}; ` +
      'import the file (kd-spec run --onnx FILE) for what else there is',
  );
}

/**
 * Writes the ensemble of a workspace, or its student, in a format.
 *
 * @param path where to write; an earlier export there is replaced
 * @throws KdSpecError `option-invalid` for what the format cannot hold, `not-found` without an ensemble
 */
async function exportEnsemble(
  path: string,
  format: ExportFormatName,
  { backend, ...choices }: ExportChoices & Pick<Settings, 'backend'>,
): Promise<{ readonly json: JsonObject; readonly text: string }> {
  const { loadNetworkEnsemble, networkAsEnsemble } = await import('../../ensemble/ensemble.js');
  const { studentFolder } = await import('../../distillation/student.js');
  const { workspace } = choices;
  const ensemble =
    choices.model === 'student'
      ? await networkAsEnsemble(studentFolder(workspace), { backend, name: 'the student' })
      : await loadNetworkEnsemble(workspace, { backend });
  try {
    return await exportFormats[format].write(path, ensemble, choices);
  } finally {
    ensemble.dispose();
  }
}
