import { resolve } from 'node:path';
import type { CommandModule } from 'yargs';
import { KdSpecError } from '../../core/errors.js';
import { addFlags, restoreLoneDash } from '../command-line.js';
import { wantsJson } from '../command-settings.js';
import { type CommandContext, printResult } from '../context.js';

/** The command that fuses distributions which were computed elsewhere. */
export function fuseCommand(context: CommandContext): CommandModule {
  return {
    command: 'fuse [file]',
    describe: 'Fuse stored distributions of a generalist and of specialists by the rule of the paper',
    builder: (yargs) =>
      addFlags(
        yargs
          .positional('file', {
            type: 'string',
            describe:
              'JSON, a line for each image: {"generalist": [...], "specialists": [{"classes": [...], ' +
              '"probabilities": [..., dustbin], "weight": 1}]}, weights above 0, 1 where none is given; - for standard input',
          })
          .option('generalist-weight', {
            type: 'string',
            requiresArg: true,
            defaultDescription: '1',
            describe: 'Weigh the generalist by this number above 0',
          }),
        [],
      ),
    handler: async (argv) => {
      if (argv.file === undefined) {
        throw new KdSpecError(
          'usage',
          'expected distributions: a file of JSON lines, or - for standard input',
        );
      }
      const word = restoreLoneDash(String(argv.file));
      const weight = Number(argv['generalist-weight'] ?? 1);
      if (!(weight > 0 && Number.isFinite(weight))) {
        throw new KdSpecError(
          'option-invalid',
          `--generalist-weight: expected a number above 0, got "${argv['generalist-weight']}"`,
        );
      }
      const { fuseLines } = await import('../fuse-lines.js');
      const results = await fuseLines(word === '-' ? word : resolve(context.folder, word), weight);
      const text = results.map(({ probabilities }) => JSON.stringify(probabilities)).join('\n');
      printResult(context, { json: { results }, text }, wantsJson(argv, context));
    },
  };
}
