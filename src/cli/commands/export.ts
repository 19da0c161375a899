import { resolve } from 'node:path';
import type { CommandModule } from 'yargs';
import { KdSpecError } from '../../core/errors.js';
import { addFlags, flagsOf } from '../command-line.js';
import { type CommandContext, printResult } from '../context.js';

/** The command that writes an ensemble for other programs. */
export function exportCommand(context: CommandContext): CommandModule {
  return {
    command: 'export',
    describe: 'Write generalist, specialists and fusion of a workspace as one ONNX model',
    builder: (yargs) =>
      addFlags(
        yargs
          .option('out', { type: 'string', requiresArg: true, describe: 'Write the model to this file' })
          .option('format', {
            type: 'string',
            requiresArg: true,
            choices: ['onnx'],
            defaultDescription: 'onnx',
            describe: 'Choose the format',
          }),
        [],
      ),
    handler: async (argv) => {
      if (typeof argv.out !== 'string') throw new KdSpecError('usage', 'expected where to write: --out FILE');
      const { resolveSettings } = await import('../../pipeline/settings.js');
      const { exportEnsemble } = await import('../export-ensemble.js');
      const { settings } = await resolveSettings(flagsOf(argv, []), context.env, { folder: context.folder });
      const result = await exportEnsemble(resolve(context.folder, argv.out), settings);
      printResult(context, result, settings.json);
    },
  };
}
