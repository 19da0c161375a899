import type { CommandModule } from 'yargs';
import type { CommandContext } from '../context.js';
import { stageCommand } from '../stage-command.js';

export function distillCommand(context: CommandContext): CommandModule {
  return stageCommand('student', context, {
    describe: 'Distil a teacher, or several, into one student',
  });
}
