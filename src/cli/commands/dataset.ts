import type { CommandModule } from 'yargs';
import type { CommandContext } from '../context.js';
import { stageCommand } from '../stage-command.js';

export function datasetCommand(context: CommandContext): CommandModule {
  return stageCommand('dataset', context, {
    describe: 'Write a data set as Arrow shards: synthetic, rendered from fonts, or imported',
  });
}
