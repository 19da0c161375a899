import stringWidth from 'string-width';
import yargs, { type Argv, type CommandModule, type Options, type PositionalOptions } from 'yargs';
import { nearestName } from '../core/nearest-name.js';
import { packageVersion } from '../core/package.js';
import { type ListedOption, listedOptions } from '../pipeline/option-list.js';
import { stageCommands, stageNames } from '../pipeline/stage-names.js';

/** Commands by what a person wants; a command that stands in no group comes with the last. */
const groups: readonly { readonly title: string; readonly commands: readonly string[] }[] = [
  { title: 'Begin', commands: ['init', 'run'] },
  { title: 'Stages, each after those that it needs', commands: ['import', ...Object.values(stageCommands)] },
  { title: 'Look', commands: ['status', 'show', 'jobs', 'doctor', 'completion'] },
  { title: 'Use', commands: [] },
];

/** Examples of each command with what they do. */
export const examples: Readonly<Record<string, readonly (readonly [words: string, what: string])[]>> = {
  run: [
    ['kd-spec run --source ./photos', 'everything, from a folder for each class'],
    ['kd-spec run --onnx model.onnx --source ./photos', 'specialists for a classifier that is there'],
    ['kd-spec run settings.yaml --dry-run', 'what would be done, and what it costs'],
  ],
  init: [
    ['kd-spec init --source ./photos', 'looks at the images and writes kd-spec.yaml'],
    ['kd-spec init --onnx model.onnx --source ./photos', 'the same for a classifier that is there'],
  ],
  dataset: [['kd-spec dataset --source ./photos --image-size 48', 'a folder for each class, at 48 pixels']],
  'train-generalist': [
    ['kd-spec train-generalist', 'until validation stops improving'],
    ['kd-spec train-generalist --epochs 20 --patience none', 'for 20 epochs'],
  ],
  import: [
    ['kd-spec import --onnx model.onnx --source ./photos', 'reads a classifier, and tries it on images'],
  ],
  predict: [['kd-spec predict --predict-split validation', 'stores what the generalist predicts there']],
  cluster: [
    ['kd-spec cluster --clusters 20', 'a partition into 20 subsets'],
    ['kd-spec cluster --predictions stored.arrow', 'predictions that were made elsewhere'],
  ],
  'train-specialists': [
    ['kd-spec train-specialists --parallel', 'in as many processes as there are cores'],
    ['kd-spec train-specialists --engine slurm --wait', 'on a cluster'],
  ],
  calibrate: [['kd-spec calibrate --rule share-inside', 'with this rule of fusion']],
  answer: [['kd-spec answer --teacher ensemble', 'soft targets of the ensemble']],
  distill: [['kd-spec distill --temperature 1,2,4', 'one student for each temperature, the best is kept']],
  evaluate: [['kd-spec evaluate', 'accuracies on the test images, and a page to open']],
  infer: [
    ['kd-spec infer photo.jpg', 'what generalist, specialists and ensemble predict'],
    ['kd-spec infer ./inbox --top 3 --json', 'a folder, for a program'],
  ],
  export: [['kd-spec export --out ensemble.onnx', 'everything as one model']],
  serve: [
    ['kd-spec serve', 'an HTTP server on this machine, with a page to try it'],
    ['kd-spec serve --model ensemble.onnx --port 8081', 'a model that was exported'],
  ],
  show: [
    ['kd-spec show', 'the most confused classes, and the specialists'],
    ['kd-spec show class amber', 'what a class is confused with'],
    ['kd-spec show specialist 12', 'its classes, its gain, its dustbin'],
  ],
  fuse: [['kd-spec fuse distributions.jsonl', 'the fused distribution of each line']],
  completion: [['source <(kd-spec completion bash)', 'completes commands and options in this shell']],
};

/** Of the stages with many options, those that most people want; the others are folded. */
const mainFlags: Partial<Record<NonNullable<ListedOption['section']>, readonly string[]>> = {
  dataset: [
    ...['source', 'classes', 'image-size', 'channels', 'label-column', 'on-error'],
    ...['validation-fraction', 'test-fraction', 'onnx'],
  ],
  generalist: [
    ...['epochs', 'patience', 'batch-size', 'learning-rate', 'schedule', 'convolutions', 'dense'],
    ...['sampled-head', 'generalist-augment'],
  ],
  subsets: ['clusters', 'specialists', 'size', 'min-size', 'max-size', 'predictions', 'subsets', 'affinity'],
  specialists: [
    ...['parallel', 'engine', 'wait', 'retrain', 'specialist-dense', 'specialist-epochs'],
    ...['specialist-batch-size', 'specialist-learning-rate', 'views'],
  ],
  student: [
    ...['student', 'objective', 'temperature', 'hard-weight', 'student-epochs', 'student-learning-rate'],
    ...['student-convolutions', 'student-dense', 'transfer-classes'],
  ],
};
/** Of commands that take the options of several stages. */
const pickedFlags: Readonly<Record<string, readonly string[]>> = {
  run: [
    ...['source', 'onnx', 'image-size', 'epochs', 'patience', 'clusters', 'parallel'],
    ...['specialist-epochs', 'rule', 'with-student'],
  ],
  import: ['source', 'onnx', 'labels', 'layout', 'channel-order', 'image-mean', 'image-std', 'blank'],
  patch: ['bystanders', 'harm', 'clusters', 'parallel'],
};

/** What stands for another name of a command. */
const otherNames: Readonly<Record<string, readonly string[]>> = {
  train: ['train-generalist', 'train-specialists'],
  fit: ['train-generalist', 'train-specialists'],
  test: ['evaluate'],
  classify: ['infer'],
  start: ['init', 'run'],
  all: ['run'],
  ...Object.fromEntries(stageNames.map((stage) => [stage, [stageCommands[stage]]])),
};

/** A command as yargs gets it, with what its builder declares. */
interface DescribedCommand {
  readonly name: string;
  /** Positional words, e.g. `[file]`. */
  readonly words: string;
  readonly describe: string;
  readonly positionals: readonly (readonly [name: string, options: PositionalOptions])[];
  readonly options: readonly (readonly [flag: string, options: Options])[];
}

/** What a command declares, without parsing anything. */
export function describeCommand({ command, describe, builder }: CommandModule): DescribedCommand {
  const [name = '', ...words] = String(Array.isArray(command) ? command[0] : command).split(' ');
  const options: [string, Options][] = [];
  const positionals: [string, PositionalOptions][] = [];
  const recorder: Argv = yargs([]);
  Object.assign(recorder, {
    option: (flag: string, declared: Options) => {
      options.push([flag, declared]);
      return recorder;
    },
    positional: (positional: string, declared: PositionalOptions) => {
      positionals.push([positional, declared]);
      return recorder;
    },
  });
  if (typeof builder === 'function') builder(recorder);
  else options.push(...Object.entries(builder ?? {}));
  return { name, words: words.join(' '), describe: String(describe || ''), positionals, options };
}

/** The words that ask for help. */
export interface HelpRequest {
  readonly command: string | undefined;
  readonly all: boolean;
}

/** Whether a command line asks for help: `-h`, `--help`, `--help=all` anywhere before `--`, or `help` as its first word. */
export function helpRequest(words: readonly string[]): HelpRequest | undefined {
  const end = words.indexOf('--');
  const own = end < 0 ? words : words.slice(0, end);
  const named = commandWord(own);
  if (named?.word === 'help') {
    const rest = own.slice(named.position + 1);
    return { command: rest.find((word) => !word.startsWith('-')), all: rest.includes('--all') };
  }
  if (!own.some((word) => /^(-h|--help|--help=(all|true|1|yes))$/.test(word))) return undefined;
  return { command: named?.word, all: own.includes('--help=all') };
}

/** The first word that is neither a flag nor the value of one. */
export function commandWord(
  words: readonly string[],
): { readonly word: string; readonly position: number } | undefined {
  for (let position = 0; position < words.length; position++) {
    const word = words[position];
    if (word === '--') return undefined;
    if (!word.startsWith('-')) return { word, position };
    const listed = listedOptions.find(({ flag }) => `--${flag}` === word);
    if (listed && listed.option.type !== 'boolean' && listed.option.type !== 'workers') position++;
  }
  return undefined;
}

/** Commands or options that were probably meant, the likeliest first; at most three. */
export function meantNames(word: string, names: readonly string[]): readonly string[] {
  const known = otherNames[word]?.filter((name) => names.includes(name)) ?? [];
  if (known.length > 0) return known;
  const nearest = nearestName(word, names);
  const alike = names.filter(
    (name) =>
      name.startsWith(word) || name.split('-').includes(word) || (name.length > 2 && word.startsWith(name)),
  );
  return [...new Set([...(nearest === undefined ? [] : [nearest]), ...alike])].slice(0, 3);
}

/** `. Did you mean x or y?`, or nothing, behind what was not understood. */
export function didYouMean(names: readonly string[]): string {
  return names.length === 0 ? '' : `. Did you mean ${names.join(' or ')}?`;
}

/** The text of `kd-spec --help`. */
export function programHelp(modules: readonly CommandModule[], columns: number): string {
  const described = modules.map((module) => {
    const [name = ''] = String(Array.isArray(module.command) ? module.command[0] : module.command).split(' ');
    return { name, describe: String(module.describe || '') };
  });
  const grouped = new Set(groups.flatMap(({ commands }) => commands));
  const blocks = groups.map(({ title, commands }, index) => {
    const isLast = index === groups.length - 1;
    const own = described.filter(({ name }) => commands.includes(name) || (isLast && !grouped.has(name)));
    const rows = own.map(({ name, describe }) => twoColumns(`  ${name}`, describe, 22, columns));
    return rows.length === 0 ? [] : [`${title}:\n${rows.join('\n')}`];
  });
  return [
    `kd-spec ${packageVersion()}: specialists for the classes that a large classifier confuses, fused exactly at inference.`,
    'Usage: kd-spec COMMAND [options]\n       kd-spec            where the workspace stands, and what to do next\n' +
      '       kd-spec help COMMAND',
    ...blocks.flat(),
    'Settings: flags, then KD_SPEC_* variables, then the pipeline file. docs/reference.md has them all.',
  ].join('\n\n');
}

/** The text of `kd-spec COMMAND --help`: its own options, and with `all` every option that it takes. */
export function commandHelp(
  module: CommandModule,
  { all, columns }: { readonly all: boolean; readonly columns: number },
): string {
  const { name, words, describe, positionals, options } = describeCommand(module);
  const listed = new Map(listedOptions.map((option) => [option.flag, option]));
  const stage =
    stageNames.find((candidate) => stageCommands[candidate] === name) ??
    listedOptions.find(({ section }) => section === name)?.section;
  const sectionOf = (flag: string) => listed.get(flag)?.section;
  // A command's own option may have the name of another command's.
  const isListed = ([flag, { group }]: readonly [string, Options]) =>
    listed.has(flag) && group === `${sectionOf(flag) ?? 'General'}:`;
  const main = pickedFlags[name] ?? (stage && mainFlags[stage]);
  const belongs = (option: readonly [string, Options]) => {
    const [flag] = option;
    if (!isListed(option)) return true;
    if (name === 'init') return sectionOf(flag) !== undefined; // they are few, whatever stage they are of
    if (name in pickedFlags) return main?.includes(flag) === true;
    return stage !== undefined && sectionOf(flag) === stage;
  };
  const own = options.filter(belongs);
  const shown = own.filter(
    (option) => all || !isListed(option) || main === undefined || main.includes(option[0]),
  );
  const general = options.filter((option) => isListed(option) && sectionOf(option[0]) === undefined);
  const inherited = options.filter((option) => !own.includes(option) && !general.includes(option));
  const line = (option: readonly [string, Options]) =>
    optionLine(...option, isListed(option) ? listed.get(option[0]) : undefined, columns);
  const shownExamples = examples[name] ?? [];
  const width = Math.max(0, ...shownExamples.map(([command]) => command.length));
  const positionalLines = positionals.map(([positional, declared]) =>
    twoColumns(`  ${positional}`, String(declared.describe ?? ''), 30, columns),
  );
  const usage = `Usage: kd-spec ${[name, words, '[options]'].filter((part) => part !== '').join(' ')}`;
  const folded = own.length - shown.length + inherited.length;
  const sections = stageNames.filter((candidate) =>
    inherited.some(([flag]) => sectionOf(flag) === candidate),
  );
  const blocks = [
    `${describe}.`,
    usage + (positionalLines.length > 0 ? `\n${positionalLines.join('\n')}` : ''),
    ...(shownExamples.length > 0
      ? [shownExamples.map(([command, what]) => `  ${command.padEnd(width)}  ${what}`).join('\n')]
      : []),
    ...(shown.length > 0 ? [`Options:\n${shown.map(line).join('\n')}`] : []),
    ...(all
      ? sections.map(
          (section) =>
            `Options of ${stageCommands[section]}:\n${inherited
              .filter(([flag]) => sectionOf(flag) === section)
              .map(line)
              .join('\n')}`,
        )
      : []),
    ...(general.length === 0
      ? []
      : all
        ? [`General options:\n${general.map(line).join('\n')}`]
        : [
            wrapped(
              `General options: ${general.map(([flag]) => generalFlag(flag, listed)).join(', ')}`,
              columns,
            ),
          ]),
    ...(all || folded === 0 ? [] : [`${folded} more options: kd-spec ${name} --help=all`]),
  ];
  return blocks.join('\n\n');
}

function generalFlag(flag: string, listed: ReadonlyMap<string, ListedOption>): string {
  const option = listed.get(flag)?.option;
  if (option?.type === 'boolean') return `--${option.default ? 'no-' : ''}${flag}`;
  return `--${flag} ${placeholder(option)}`;
}

function optionLine(
  flag: string,
  declared: Options,
  listed: ListedOption | undefined,
  columns: number,
): string {
  const isBoolean = declared.type === 'boolean';
  const value = isBoolean
    ? ''
    : ` ${listed ? placeholder(listed.option) : declared.choices ? 'NAME' : placeholderOf(flag)}`;
  const text = declared.description ?? declared.describe ?? '';
  const choices = listed || !declared.choices ? '' : ` (${declared.choices.join(', ')})`;
  const given = declared.defaultDescription;
  const hasDefault = given !== undefined && given !== 'false' && given !== '';
  return twoColumns(
    `  --${flag}${value}`,
    `${text}${choices}${hasDefault ? ` [${given === 'true' ? `on; --no-${flag} turns it off` : given}]` : ''}`,
    30,
    columns,
  );
}

/** What stands for a value. */
function placeholder(option: ListedOption['option'] | undefined): string {
  switch (option?.type) {
    case 'integer':
      return 'N';
    case 'number':
      return 'X';
    case 'integers':
      return 'N,N';
    case 'numbers':
      return 'X,X';
    case 'path':
      return 'PATH';
    case 'choice':
      return 'NAME';
    case 'workers':
      return '[N]';
    case 'texts':
    case 'grouped-list':
      return 'A,B';
    case 'code-points':
      return 'FROM-TO';
    case 'image-size':
      return 'N|HxW';
    default:
      return 'TEXT';
  }
}

const numbers = new Set(['top', 'position', 'parallelism', 'cpus', 'gpus', 'port']);
const paths = new Set(['out', 'image', 'images', 'token-file', 'bystanders']);

function placeholderOf(flag: string): string {
  return numbers.has(flag) ? 'N' : paths.has(flag) ? 'PATH' : 'TEXT';
}

/** A name and a text beside it, which is wrapped and indented; a long name has a line of its own. */
function twoColumns(left: string, text: string, indent: number, columns: number): string {
  const lines = wrapLines(text, Math.max(24, columns - indent));
  const first = stringWidth(left) < indent - 1 ? left.padEnd(indent) : `${left}\n${' '.repeat(indent)}`;
  return `${first}${lines.join(`\n${' '.repeat(indent)}`)}`.trimEnd();
}

function wrapped(text: string, columns: number): string {
  return wrapLines(text, columns - 2).join('\n  ');
}

function wrapLines(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line !== '' && stringWidth(longer) > width) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line];
}
