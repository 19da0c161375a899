import { join } from 'node:path';
import type { CommandModule } from 'yargs';
import { KdSpecError } from '../core/errors.js';
import type { JsonObject } from '../core/json.js';
import { type StageName, stageCommands, stageNames } from '../pipeline/stage-names.js';
import { addFlags, flagsOf } from './command-line.js';
import { doctorCommand } from './commands/doctor.js';
import { exportCommand } from './commands/export.js';
import { fuseCommand } from './commands/fuse.js';
import { inferCommand } from './commands/infer.js';
import { initCommand } from './commands/init.js';
import { jobsCommand } from './commands/jobs.js';
import { patchCommand } from './commands/patch.js';
import { serveCommand } from './commands/serve.js';
import { showCommand } from './commands/show.js';
import { shells } from './completion.js';
import type { CommandContext } from './context.js';

/** The commands that make a stage's artefact, in words. */
const stageDescriptions: Readonly<Record<StageName, string>> = {
  dataset: 'Import or generate a data set, and write it as Arrow shards',
  generalist: 'Train the generalist on all classes, or import it (--onnx)',
  predictions: 'Store predictions of the generalist for images it was not trained on',
  subsets: 'Cluster the classes that the generalist confuses into subsets',
  specialists: 'Train one specialist for each subset',
  ensemble: 'Choose the fusion rule, temperatures, weights and specialists on validation',
  rivals: 'Compare the specialists with what else could be done with the same images',
  answers: 'Store soft targets of the teacher for the transfer set',
  student: 'Distil one or several teachers into one student',
  report: 'Evaluate generalist and ensemble on test images, and write the report',
};

/** All commands, in the order of the data: a stage's is a line above, the others have a file or a function each. */
export function commands(context: CommandContext): readonly CommandModule[] {
  const stage = (name: StageName) => stageCommand(name, context);
  return [
    initCommand(context),
    runCommand(context),
    patchCommand(context),
    stage('dataset'),
    stage('generalist'),
    importCommand(context),
    stage('predictions'),
    stage('subsets'),
    stage('specialists'),
    jobsCommand(context),
    stage('ensemble'),
    stage('rivals'),
    stage('answers'),
    stage('student'),
    stage('report'),
    inferCommand(context),
    exportCommand(context),
    serveCommand(context),
    fuseCommand(context),
    statusCommand(context),
    showCommand(context),
    doctorCommand(context),
    completionCommand(context),
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

/** The command that a line without a command means. */
function statusCommand(context: CommandContext): CommandModule {
  return {
    command: 'status',
    describe: 'Show where the workspace stands, stage by stage, and what to do next',
    builder: (yargs) => addFlags(yargs, []),
    handler: async (argv) => {
      const { showStatus } = await import('./status.js');
      await showStatus(flagsOf(argv, []), context);
    },
  };
}

function completionCommand(context: CommandContext): CommandModule {
  return {
    command: 'completion [shell]',
    describe: 'Print a script that completes commands and options in bash, zsh or fish',
    builder: (yargs) =>
      yargs.positional('shell', { type: 'string', choices: shells, describe: 'The shell; default bash' }),
    handler: async (argv) => {
      const { completionScript } = await import('./completion.js');
      context.stdout.write(completionScript(String(argv.shell ?? 'bash'), commands(context)));
    },
  };
}

/** The command that makes somebody else's model the generalist. */
function importCommand(context: CommandContext): CommandModule {
  const accepted = stageNames.slice(0, stageNames.indexOf('generalist') + 1);
  return {
    command: 'import',
    describe:
      'Import an ONNX classifier as the generalist (--onnx), and try it on labelled images (--source)',
    builder: (yargs) => addFlags(yargs, accepted),
    handler: async (argv) => {
      const flags = flagsOf(argv, accepted);
      if (flags.onnx === undefined && context.env.KD_SPEC_ONNX === undefined) {
        throw new KdSpecError(
          'usage',
          'expected the model to import: --onnx FILE, with images as --source FOLDER',
        );
      }
      const { runStageCommand } = await import('./run-stages.js');
      const toJson = ({ imported }: JsonObject): JsonObject =>
        Object.fromEntries(Object.entries(imported ?? {}));
      await runStageCommand('generalist', flags, context, { toJson });
    },
  };
}

function runCommand(context: CommandContext): CommandModule {
  return {
    command: 'run [file]',
    describe: 'Run all stages up to evaluate; those that are up to date are skipped',
    builder: (yargs) =>
      addFlags(yargs.positional('file', { type: 'string', describe: 'Like --pipeline' }), stageNames),
    handler: async (argv) => {
      const { runPipelineCommand } = await import('./run-stages.js');
      const file = typeof argv.file === 'string' ? argv.file : undefined;
      await runPipelineCommand(file, flagsOf(argv, stageNames), context);
    },
  };
}
