import yargs, { type Argv, type CommandModule } from 'yargs';
import { KdSpecError } from '../core/errors.js';
import { packageVersion } from '../core/package.js';
import { terminalText } from '../core/terminal-text.js';
import { listedOptions } from '../pipeline/option-list.js';
import { stageCommands, stageNames } from '../pipeline/stage-names.js';
import { planFlag, readableWords } from './command-line.js';
import { commands } from './commands.js';
import type { CommandContext } from './context.js';
import {
  commandHelp,
  commandWord,
  describeCommand,
  didYouMean,
  helpRequest,
  meantNames,
  programHelp,
} from './help.js';
import { Interruption } from './interruption.js';

/**
 * Runs a command line.
 *
 * @param argv the words after the program's name
 * @returns the exit code: 0 done, 1 failed, 2 usage, 75 interrupted and resumable, 130 after Ctrl-C
 */
export async function runProgram(
  argv: readonly string[],
  { env, folder, stdout, stderr }: Omit<CommandContext, 'signal'>,
): Promise<number> {
  using interruption = new Interruption((message) => stderr.write(`${message}\n`));
  const context: CommandContext = { env, folder, stdout, stderr, signal: interruption.signal };
  try {
    const modules = commands(context);
    const printed = printedOnly(argv, modules);
    if (printed === undefined)
      await createParser(modules, commandWord(argv)?.word ?? 'status').parseAsync(commandLine(argv, modules));
    else stdout.write(`${terminalText(printed)}\n`);
    return 0;
  } catch (error) {
    stderr.write(`${terminalText(describeError(error, env))}\n`);
    if (!(error instanceof KdSpecError)) return 1;
    if (error.code === 'interrupted') return interruption.exitCode;
    if (error.code === 'jobs-under-way' || error.code === 'specialists-stopped') return 75;
    return error.code === 'usage' || error.code === 'option-invalid' ? 2 : 1;
  }
}

/** The text that a command line asks for, if it asks for help or for the version. */
function printedOnly(argv: readonly string[], modules: readonly CommandModule[]): string | undefined {
  if (argv.length === 1 && (argv[0] === '-V' || argv[0] === '--version')) return packageVersion();
  const help = helpRequest(argv);
  if (help === undefined) return undefined;
  const columns = Math.min(110, process.stdout.columns ?? 100);
  if (help.command === undefined) return programHelp(modules, columns);
  return commandHelp(findCommand(help.command, modules), { all: help.all, columns });
}

/** The words for yargs; without a command, where the workspace stands is shown. */
function commandLine(argv: readonly string[], modules: readonly CommandModule[]): string[] {
  const named = commandWord(argv);
  if (named !== undefined) findCommand(named.word, modules);
  return readableWords(named === undefined ? ['status', ...argv] : argv);
}

function findCommand(name: string, modules: readonly CommandModule[]): CommandModule {
  const found = modules.find(({ command }) => String(command).split(' ')[0] === name);
  if (found) return found;
  const names = modules.map(({ command }) => String(command).split(' ')[0] ?? '');
  throw new KdSpecError(
    'usage',
    `no such command: ${name}${didYouMean(meantNames(name, names))} (kd-spec --help lists them)`,
  );
}

/** @param command that the command line names */
function createParser(modules: readonly CommandModule[], command: string): Argv {
  const parser = yargs()
    .scriptName('kd-spec')
    .parserConfiguration({
      'boolean-negation': false,
      'camel-case-expansion': false,
      'dot-notation': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
    })
    .locale('en')
    .help(false)
    .version(false)
    .exitProcess(false)
    .demandCommand(1, 1, 'expected a command')
    .strict()
    .fail((message, error) => {
      // Errors of commands come through here too; those of yargs itself are about the command line.
      if (error && error.name !== 'YError') throw error;
      throw new KdSpecError('usage', explainUsage(error?.message ?? message, modules, command));
    });
  for (const module of modules) parser.command(module);
  return parser;
}

/** What yargs says about a command line, with the flag that was probably meant, or the command that takes it. */
function explainUsage(message: string, modules: readonly CommandModule[], command: string): string {
  const text = message.replaceAll('\n', ' ');
  const unknown = /^Unknown arguments?: (\S+?)(,|$)/.exec(text)?.[1];
  if (unknown === undefined) return explainOthers(text, command);
  if (unknown === planFlag) {
    return `--${unknown} prints the plan of stages, and kd-spec ${command} runs none: leave it out`;
  }
  const owner = listedOptions.find(({ flag }) => flag === unknown)?.section;
  const stage = stageNames.find((name) => name === owner);
  if (stage !== undefined) {
    const later = stageNames.slice(stageNames.indexOf(stage) + 1).map((name) => stageCommands[name]);
    const after = later.length === 0 ? '' : `, of the stages after it (${later.join(', ')})`;
    return `${text}: it is an option of kd-spec ${stageCommands[stage]}${after} and of kd-spec run, not of kd-spec ${command}`;
  }
  if (owner !== undefined) return `${text}: it is an option of kd-spec ${owner}`;
  const commands = modules.map((module) => describeCommand(module));
  const takers = commands.filter(({ options }) => options.some(([flag]) => flag === unknown));
  if (takers.length > 0)
    return `${text}: it is an option of kd-spec ${takers.map(({ name }) => name).join(', kd-spec ')}`;
  const flags = [...new Set(commands.flatMap(({ options }) => options.map(([flag]) => flag)))];
  const meant = meantNames(unknown, flags).map((flag) => `--${flag}`);
  return `${text}${didYouMean(meant)} (--help lists what there is)`;
}

/** What yargs says about a command line whose words are all known. */
function explainOthers(text: string, command: string): string {
  const help = `(kd-spec ${command} --help lists what there is)`;
  const bare = /^Not enough arguments following: (\S+)$/.exec(text)?.[1];
  if (bare !== undefined) return `--${bare}: expected a value after it ${help}`;
  const [, name, given, choices] =
    /^Invalid values: +Argument: ([^,]+), Given: (.*), Choices: (.*)$/.exec(text) ?? [];
  if (name !== undefined) return `${name}: expected one of ${choices}, got ${given} ${help}`;
  if (text.startsWith('Not enough non-option arguments') && command in expectedWords) {
    return `expected ${expectedWords[command]} ${help}`;
  }
  return `${text} ${help}`;
}

/** What stands behind a command that does not run without it. */
const expectedWords: Readonly<Record<string, string>> = {
  jobs: 'what to do with the jobs: kd-spec jobs show, follow, cancel, collect, manifest or train',
  patch: 'the model to patch: kd-spec patch MODEL.onnx --images FOLDER --out FILE',
};

/** An error for a person; the stack only where `KD_SPEC_DEBUG` asks for it. */
export function describeError(error: unknown, env: Readonly<Record<string, string | undefined>>): string {
  const debug = env.KD_SPEC_DEBUG ? `\n${error instanceof Error ? error.stack : ''}` : '';
  if (error instanceof KdSpecError && error.code === 'jobs-under-way') return error.message;
  if (error instanceof KdSpecError) return `error: ${error.message}\ncode: ${error.code}${debug}`;
  const message = error instanceof Error ? error.message : String(error);
  return `error: ${message}\nThis is a defect of kd-spec; KD_SPEC_DEBUG=1 shows where it happened.${debug}`;
}
