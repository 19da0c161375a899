import { resolve } from 'node:path';
import type { CommandModule } from 'yargs';
import { KdSpecError } from '../../core/errors.js';
import { addFlags } from '../command-line.js';
import { type CommandContext, printResult } from '../context.js';

/** The command that shows what a workspace holds. */
export function showCommand(context: CommandContext): CommandModule {
  return {
    command: 'show [what] [name]',
    describe: 'Show the confused classes, a stage, a specialist, a class, or how an image is classified',
    builder: (yargs) =>
      addFlags(
        yargs
          .positional('what', {
            type: 'string',
            describe:
              'specialist, class, image, or a stage such as subsets; nothing: the most confused classes',
          })
          .positional('name', {
            type: 'string',
            describe:
              'The number of the specialist, the name of the class or its index, the file of the image',
          }),
        [],
      ),
    handler: async (argv) => {
      const { commandSettings } = await import('../command-settings.js');
      const settings = await commandSettings(argv, context);
      const word = (value: unknown) => (value === undefined ? undefined : String(value));
      const [what, name] = [word(argv.what), word(argv.name)];
      if (what === 'image') {
        if (name === undefined) throw new KdSpecError('usage', 'expected an image: kd-spec show image FILE');
        const { showImage } = await import('../show-image.js');
        const shown = await showImage(resolve(context.folder, name), settings, context);
        return printResult(context, shown, settings.json);
      }
      const { show } = await import('../show.js');
      printResult(context, await show(what, name, settings), settings.json);
    },
  };
}
