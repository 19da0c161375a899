import { join } from 'node:path';
import type { CommandModule } from 'yargs';
import type { CommandContext } from '../context.js';
import { stageCommand } from '../stage-command.js';

export function clusterCommand(context: CommandContext): CommandModule {
  return stageCommand('subsets', context, {
    describe: 'Find the subsets of classes that the generalist confuses',
    toJson: (metrics, directory) => ({ ...metrics, subsets: join(directory, 'subsets.json') }),
  });
}
