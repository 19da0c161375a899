import { join } from 'node:path';
import type { CommandModule } from 'yargs';
import type { JsonObject } from '../core/json.js';
import { type StageName, stageCommands, stageNames } from '../pipeline/stage-names.js';
import { addFlags, flagsOf } from './command-line.js';
import { doctorCommand } from './commands/doctor.js';
import { inferCommand } from './commands/infer.js';
import { jobsCommand } from './commands/jobs.js';
import type { CommandContext } from './context.js';

/** The commands that make a stage's artefact, in words. */
const stageDescriptions: Readonly<Record<StageName, string>> = {
  dataset: 'Write a data set as Arrow shards: synthetic, rendered from fonts, or imported',
  generalist: 'Train the generalist over all classes',
  predictions: "Write the generalist's predictions for images it was not fitted to",
  subsets: 'Find the subsets of classes that the generalist confuses',
  specialists: 'Train a specialist for each subset of confused classes',
  ensemble: 'Fit temperatures and weights of the ensemble on validation',
  answers: "Write the teacher's predictions for the transfer set",
  student: 'Distil a teacher, or several, into one student',
  report: 'Evaluate generalist and ensemble, and write the report',
};

/** All commands, in the order of the data: a stage's is a line above, the others have a file or a function each. */
export function commands(context: CommandContext): readonly CommandModule[] {
  const stage = (name: StageName) => stageCommand(name, context);
  return [
    runCommand(context),
    stage('dataset'),
    stage('generalist'),
    stage('predictions'),
    stage('subsets'),
    stage('specialists'),
    jobsCommand(context),
    stage('ensemble'),
    stage('answers'),
    stage('student'),
    stage('report'),
    inferCommand(context),
    doctorCommand(context),
  ];
}

/** The command that makes a stage's artefact, with the flags of the stage and of all before it. */
function stageCommand(name: StageName, context: CommandContext): CommandModule {
  const accepted = stageNames.slice(0, stageNames.indexOf(name) + 1);
  // A manifest names files within its artefact, since workspaces are moved; a command prints paths to open.
  const toJson = (metrics: JsonObject, directory: string): JsonObject =>
    name === 'subsets' ? { ...metrics, subsets: join(directory, 'subsets.json') } : metrics;
  return {
    command: stageCommands[name],
    describe: stageDescriptions[name],
    builder: (yargs) => addFlags(yargs, accepted),
    handler: async (argv) => {
      const { runStageCommand } = await import('./run-stages.js');
      await runStageCommand(name, flagsOf(argv, accepted), context, { toJson });
    },
  };
}

function runCommand(context: CommandContext): CommandModule {
  return {
    command: 'run [file]',
    describe: 'Bring a whole pipeline up to date',
    builder: (yargs) =>
      addFlags(yargs.positional('file', { type: 'string', describe: 'Like --pipeline' }), stageNames),
    handler: async (argv) => {
      const { runPipelineCommand } = await import('./run-stages.js');
      const file = typeof argv.file === 'string' ? argv.file : undefined;
      await runPipelineCommand(file, flagsOf(argv, stageNames), context);
    },
  };
}
