import type { CommandModule } from 'yargs';
import { stageNames } from '../../pipeline/stage-names.js';
import { addFlags, flagsOf } from '../command-line.js';
import type { CommandContext } from '../context.js';

export function runCommand(context: CommandContext): CommandModule {
  return {
    command: 'run [file]',
    describe: 'Bring a whole pipeline up to date',
    builder: (yargs) =>
      addFlags(
        yargs.positional('file', {
          type: 'string',
          describe:
            "Pipeline file, or the name of one of kd-spec's own; else the workspace's, else the default",
        }),
        stageNames,
      ),
    handler: async (argv) => {
      const { runPipelineCommand } = await import('../run-stages.js');
      const file = typeof argv.file === 'string' ? argv.file : undefined;
      await runPipelineCommand(file, flagsOf(argv, stageNames), context);
    },
  };
}
