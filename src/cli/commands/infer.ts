import type { CommandModule } from 'yargs';
import { KdSpecError } from '../../core/errors.js';
import { addFlags, flagsOf, restoreLoneDash } from '../command-line.js';
import { type CommandContext, printResult } from '../context.js';

export function inferCommand(context: CommandContext): CommandModule {
  return {
    command: 'infer [images..]',
    describe: 'Classify images with generalist and ensemble, or with the student',
    builder: (yargs) =>
      addFlags(
        yargs
          .positional('images', {
            type: 'string',
            array: true,
            describe: 'Classify these images, as with --image',
          })
          .option('image', {
            type: 'string',
            array: true,
            requiresArg: true,
            describe: 'Classify image files, folders of images, or - for an image on standard input',
          })
          .option('model', {
            type: 'string',
            requiresArg: true,
            choices: ['ensemble', 'student'],
            defaultDescription: 'ensemble',
            describe: 'Choose the model: generalist and ensemble, or the student alone',
          })
          .option('top', {
            type: 'string',
            requiresArg: true,
            defaultDescription: '5',
            describe: 'Print this many classes per image',
          }),
        [],
      ),
    handler: async (argv) => {
      const afterTwoDashes = texts(argv._).slice(1); // the first is the command
      const images = [...texts(argv.images), ...texts(argv.image), ...afterTwoDashes].map(restoreLoneDash);
      if (images.length === 0) {
        throw new KdSpecError('usage', 'expected images: give files or folders, or - for standard input');
      }
      const top = Number(argv.top ?? 5);
      if (!Number.isSafeInteger(top) || top < 1) {
        throw new KdSpecError('option-invalid', `--top: expected an integer of 1 or more, got "${argv.top}"`);
      }
      const { resolveSettings } = await import('../../pipeline/settings.js');
      const { createTerminalLog, usesColor } = await import('../terminal-log.js');
      const { inferImages } = await import('../infer-images.js');
      const { settings } = await resolveSettings(flagsOf(argv, []), context.env, { folder: context.folder });
      const color = usesColor(context.stderr, context.env);
      using log = createTerminalLog(context.stderr, { quiet: settings.quiet, color });
      const answer = await inferImages(images, {
        model: argv.model === 'student' ? 'student' : 'ensemble',
        top,
        settings,
        log,
        signal: context.signal,
      });
      const hasAnswers = answer.text !== '';
      if (hasAnswers || settings.json) printResult(context, answer, settings.json);
      if (answer.error) throw answer.error;
    },
  };
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
