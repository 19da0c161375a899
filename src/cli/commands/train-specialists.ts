import type { CommandModule } from 'yargs';
import type { CommandContext } from '../context.js';
import { stageCommand } from '../stage-command.js';

export function trainSpecialistsCommand(context: CommandContext): CommandModule {
  return stageCommand('specialists', context, {
    describe: 'Train a specialist for each subset of confused classes',
  });
}
