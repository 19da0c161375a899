import type { CommandModule } from 'yargs';
import type { CommandContext } from '../context.js';
import { stageCommand } from '../stage-command.js';

export function predictCommand(context: CommandContext): CommandModule {
  return stageCommand('predictions', context, {
    describe: 'Write what the generalist says about images it was not fitted to',
  });
}
