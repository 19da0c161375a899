import type { CommandModule } from 'yargs';
import type { CommandContext } from '../context.js';
import { stageCommand } from '../stage-command.js';

export function evaluateCommand(context: CommandContext): CommandModule {
  return stageCommand('report', context, {
    describe: 'Evaluate generalist and ensemble, and write the report',
  });
}
