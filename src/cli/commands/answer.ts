import type { CommandModule } from 'yargs';
import type { CommandContext } from '../context.js';
import { stageCommand } from '../stage-command.js';

export function answerCommand(context: CommandContext): CommandModule {
  return stageCommand('answers', context, {
    describe: 'Write down what the teacher says about the transfer set',
  });
}
