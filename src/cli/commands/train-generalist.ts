import type { CommandModule } from 'yargs';
import type { CommandContext } from '../context.js';
import { stageCommand } from '../stage-command.js';

export function trainGeneralistCommand(context: CommandContext): CommandModule {
  return stageCommand('generalist', context, {
    describe: 'Train the generalist over all classes',
  });
}
