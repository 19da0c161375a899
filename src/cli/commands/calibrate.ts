import type { CommandModule } from 'yargs';
import type { CommandContext } from '../context.js';
import { stageCommand } from '../stage-command.js';

export function calibrateCommand(context: CommandContext): CommandModule {
  return stageCommand('ensemble', context, {
    describe: 'Fit temperatures and weights of the ensemble on validation',
  });
}
