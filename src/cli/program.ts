import yargs, { type Argv } from 'yargs';
import { KdSpecError } from '../core/errors.js';
import { suggestion } from '../core/nearest-name.js';
import { packageVersion } from '../core/package.js';
import { terminalText } from '../core/terminal-text.js';
import { listedOptions } from '../pipeline/option-list.js';
import { readableWords } from './command-line.js';
import { commands } from './commands.js';
import type { CommandContext } from './context.js';
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
    await createParser(context).parseAsync(readableWords(argv));
    return 0;
  } catch (error) {
    stderr.write(`${terminalText(describeError(error, env))}\n`);
    if (!(error instanceof KdSpecError)) return 1;
    if (error.code === 'interrupted') return interruption.exitCode;
    if (error.code === 'jobs-under-way' || error.code === 'specialists-stopped') return 75;
    return error.code === 'usage' || error.code === 'option-invalid' ? 2 : 1;
  }
}

function createParser(context: CommandContext): Argv {
  const parser = yargs()
    .scriptName('kd-spec')
    .usage(
      '$0 <command>\n\nSpecialists for the classes that a large classifier confuses, fused exactly at inference.',
    )
    .parserConfiguration({
      'boolean-negation': false,
      'camel-case-expansion': false,
      'dot-notation': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
    })
    .locale('en')
    .version(packageVersion())
    .wrap(Math.min(110, process.stdout.columns ?? 110))
    .epilogue(
      'Settings: flags, then KD_SPEC_* variables, then the pipeline file. docs/reference.md has them all.',
    )
    .exitProcess(false)
    .demandCommand(1, 1, 'expected a command')
    .strict()
    .recommendCommands()
    .fail((message, error) => {
      // Errors of commands come through here too; those of yargs itself are about the command line.
      if (error && error.name !== 'YError') throw error;
      throw new KdSpecError('usage', explainUsage(error?.message ?? message));
    });
  for (const command of commands(context)) parser.command(command);
  return parser;
}

/** What yargs says about a command line, with the flag that was probably meant. */
function explainUsage(message: string): string {
  const text = message.replaceAll('\n', ' ');
  if (text.startsWith('Did you mean')) return `no such command. ${text} (kd-spec --help lists them)`;
  const unknown = /^Unknown arguments?: (\S+?)(,|$)/.exec(text)?.[1];
  const flags = listedOptions.map(({ flag }) => flag);
  const meant = unknown === undefined ? '' : suggestion(unknown, flags);
  return `${text}${meant} (--help lists what there is)`;
}

/** An error for a person; the stack only where `KD_SPEC_DEBUG` asks for it. */
export function describeError(error: unknown, env: Readonly<Record<string, string | undefined>>): string {
  const debug = env.KD_SPEC_DEBUG ? `\n${error instanceof Error ? error.stack : ''}` : '';
  if (error instanceof KdSpecError && error.code === 'jobs-under-way') return error.message;
  if (error instanceof KdSpecError) return `error: ${error.message}\ncode: ${error.code}${debug}`;
  const message = error instanceof Error ? error.message : String(error);
  return `error: ${message}\nThis is a defect of kd-spec; KD_SPEC_DEBUG=1 shows where it happened.${debug}`;
}
