import type { CommandModule } from 'yargs';
import type { JsonObject } from '../core/json.js';
import { type StageName, stageNames } from '../pipeline/stage-names.js';
import { stages } from '../pipeline/stages/index.js';
import { addFlags, flagsOf } from './command-line.js';
import type { CommandContext } from './context.js';

/**
 * The command that makes a stage's artefact, with the flags of the stage and of all before it.
 *
 * @param options.describe one line for the list of commands
 * @param options.toJson what `--json` prints, from the metrics of the stage and the folder of its artefact
 */
export function stageCommand(
  name: StageName,
  context: CommandContext,
  {
    describe,
    toJson = (metrics) => metrics,
  }: { describe: string; toJson?: (metrics: JsonObject, directory: string) => JsonObject },
): CommandModule {
  const accepted = stageNames.slice(0, stageNames.indexOf(name) + 1);
  return {
    command: stages.find((stage) => stage.name === name)?.command ?? name,
    describe,
    builder: (yargs) => addFlags(yargs, accepted),
    handler: async (argv) => {
      const { runStageCommand } = await import('./run-stages.js');
      await runStageCommand(name, flagsOf(argv, accepted), context, { toJson });
    },
  };
}
