import type { CommandModule } from 'yargs';
import { KdSpecError } from '../core/errors.js';
import { listedOptions } from '../pipeline/option-list.js';
import { describeCommand } from './help.js';

export const shells = ['bash', 'zsh', 'fish'] as const;

interface Completed {
  readonly name: string;
  readonly describe: string;
  readonly flags: readonly {
    readonly flag: string;
    readonly values: readonly string[];
    readonly takes: boolean;
  }[];
}

/**
 * A script that completes commands, options and their values in a shell. It holds all of them, so that a press of Tab starts
 * no process.
 *
 * @throws KdSpecError `usage` for another shell
 */
export function completionScript(shell: string, modules: readonly CommandModule[]): string {
  const commands = modules.map((module): Completed => {
    const { name, describe, options, positionals } = describeCommand(module);
    const flags = options.map(([flag, { type, choices }]) => {
      const listed = listedOptions.find((option) => option.flag === flag)?.option;
      const values = listed?.type === 'choice' ? listed.choices : (choices ?? []);
      return { flag, values: values.map(String), takes: type !== 'boolean' };
    });
    const words = positionals.flatMap(([, { choices }]) => (choices ?? []).map(String));
    return {
      name,
      describe,
      flags: [
        ...flags,
        { flag: 'help', values: [], takes: false },
        ...words.map((word) => ({ flag: `=${word}`, values: [], takes: false })),
      ],
    };
  });
  switch (shell) {
    case 'bash':
      return bashScript(commands);
    case 'zsh':
      return `autoload -Uz bashcompinit && bashcompinit\n${bashScript(commands)}`;
    case 'fish':
      return fishScript(commands);
    default:
      throw new KdSpecError('usage', `expected a shell, one of ${shells.join(', ')}, got "${shell}"`);
  }
}

/** Words of a command: its flags, and what may stand without a dash. */
const wordsOf = ({ flags }: Completed) =>
  flags.map(({ flag }) => (flag.startsWith('=') ? flag.slice(1) : `--${flag}`)).join(' ');

function bashScript(commands: readonly Completed[]): string {
  const byCommand = commands.map((command) => `    ${command.name}) words='${wordsOf(command)}' ;;`);
  const values = new Map<string, string>();
  for (const { flag, values: some } of commands.flatMap(({ flags }) => flags))
    if (some.length > 0) values.set(flag, some.join(' '));
  const byFlag = [...values].map(
    ([flag, words]) => `    --${flag}) COMPREPLY=($(compgen -W '${words}' -- "$current")); return ;;`,
  );
  return `# Completes kd-spec in bash: source <(kd-spec completion bash)
_kd_spec() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command='' word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in -*) ;; *) command=$word; break ;; esac
  done
  case $previous in
${byFlag.join('\n')}
  esac
  case $command in
    '') words='${commands.map(({ name }) => name).join(' ')} help --help --version' ;;
    help) words='${commands.map(({ name }) => name).join(' ')}' ;;
${byCommand.join('\n')}
    *) words='' ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _kd_spec kd-spec
`;
}

function fishScript(commands: readonly Completed[]): string {
  const quoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = commands.flatMap(({ name, describe, flags }) => {
    const when = `-n '__fish_seen_subcommand_from ${name}'`;
    return [
      `complete -c kd-spec -n __fish_use_subcommand -f -a ${name} -d ${quoted(describe)}`,
      ...flags.map(({ flag, values, takes }) =>
        flag.startsWith('=')
          ? `complete -c kd-spec ${when} -a ${flag.slice(1)}`
          : `complete -c kd-spec ${when} -l ${flag}${takes ? ' -r' : ''}${values.length > 0 ? ` -f -a ${quoted(values.join(' '))}` : ''}`,
      ),
    ];
  });
  return `# Completes kd-spec in fish: kd-spec completion fish | source\n${lines.join('\n')}\n`;
}
