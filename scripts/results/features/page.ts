import { percent } from '../../../src/core/percent.js';
import { count, duration } from '../../../src/core/quantity-text.js';
import { table } from '../format.js';

/** How the embeddings of one size are made, and with which options kd-spec is run on them. */
export interface FeaturesSetting {
  readonly classes: number;
  readonly width: number;
  /** Classes that lie close together. */
  readonly groupSize: number;
  /** Standard deviations of a group around 0, of a class around its group, and of a row around its class. */
  readonly spread: { readonly group: number; readonly class: number; readonly row: number };
  /** On average. */
  readonly rowsPerClass: { readonly train: number; readonly val: number; readonly test: number };
  /** The commands, without what concerns the place. */
  readonly commands: readonly (readonly string[])[];
}

/** What one command took. */
export interface FeaturesStage {
  readonly command: string;
  readonly seconds: number;
  readonly processorSeconds: number;
  readonly peakBytes: number;
  /** Of a command that did not end well: the last that it said. */
  readonly failure?: string;
}

/** One size, as far as it got. */
export interface FeaturesRun {
  readonly setting: FeaturesSetting;
  readonly rows: Readonly<Record<'train' | 'val' | 'test', number>>;
  readonly stages: readonly FeaturesStage[];
  /** The generalist's top-1 on the validation rows of the last check of its training. */
  readonly checkedTop1?: number;
  /** What `evaluate` found, if it got there. */
  readonly test?: {
    readonly examples: number;
    readonly generalist: number;
    readonly ensemble: number;
    /** Ensemble less generalist, paired. */
    readonly difference: { readonly top1: number; readonly standardError: number };
    readonly specialists: { readonly trained: number; readonly kept: number };
    readonly rule: string;
  };
  /** The generalist alone, trained for more epochs. */
  readonly rival?: {
    readonly epochs: number;
    /** Test rows. */
    readonly examples: number;
    readonly top1: number;
    readonly training: FeaturesStage;
  };
}

/** A run for each number of classes, ascending. */
export type FeaturesResult = readonly FeaturesRun[];

/** The page of features made elsewhere. */
export function renderFeaturesPage(result: FeaturesResult): string {
  const sizes = result.map(({ setting }) => count(setting.classes)).join(' and ');
  return `# Features made elsewhere: ${sizes} classes

From stored embeddings to an evaluated ensemble, every stage as a command of its own, on the WebAssembly backend. Made by

\`\`\`
npm run build
${result.flatMap(commandsOf).join('\n')}
\`\`\`

**The structure is planted**: real embeddings of so many labelled classes were not at hand. Classes lie in groups. The centre of a group, a class around its group and a row around its class are normal with the deviations of the table; a row is then scaled to a length of 8, as encoders give embeddings of one length. Rows are stored as NumPy arrays (\`features.npy\`, \`labels.npy\`, \`split.npy\`). The generalist is a linear head that kd-spec trains by a sampled softmax; specialists are linear heads on the same features. Settings were chosen by validation at 10,000 classes and by what fits into the time; the test rows chose nothing.

${result.map(renderRun).join('\n\n')}

The processor time is what a stage costs, of all its threads; the time by the clock is what it took on a machine of two cores that did other work as well. Memory is the most that a process held (\`VmHWM\`), arrays and WebAssembly included, and where specialists are trained in two processes beside the first, the sum of the three.
`;
}

function commandsOf({ setting, rival }: FeaturesRun): readonly string[] {
  const command = `npx tsx scripts/results/features.ts --classes ${setting.classes}`;
  return rival ? [command, `${command} --rival`] : [command];
}

function renderRun({ setting, rows, stages, checkedTop1, test, rival }: FeaturesRun): string {
  const { classes, width, groupSize, spread, rowsPerClass, commands } = setting;
  const total = (key: 'seconds' | 'processorSeconds') => stages.reduce((sum, stage) => sum + stage[key], 0);
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
  const most = Math.max(...stages.map(({ peakBytes }) => peakBytes));
  const figures = (stage: Omit<FeaturesStage, 'command' | 'failure'>) => [
    duration(stage.seconds),
    duration(stage.processorSeconds),
    gigabytes(stage.peakBytes),
  ];
  const embeddings = table(
    ['embeddings', ''],
    [
      ['numbers a row', width],
      ['classes a group', groupSize],
      ['deviations: group, class, row', `${spread.group}, ${spread.class}, ${spread.row}`],
      ['training rows, of a class', `${count(rows.train)}, ${rowsPerClass.train}`],
      ['validation rows, of a class', `${count(rows.val)}, ${rowsPerClass.val}`],
      ['test rows, of a class', `${count(rows.test)}, ${rowsPerClass.test}`],
    ],
  );
  const gain =
    test &&
    table(
      [`top-1 on ${count(test.examples)} test rows`, ''],
      [
        ...(rival && rival.examples === test.examples
          ? [[`rival: the generalist alone, trained for ${rival.epochs} epochs`, percent(rival.top1, 2)]]
          : []),
        ['generalist', percent(test.generalist, 2)],
        [
          `ensemble: ${test.specialists.kept} of ${test.specialists.trained} specialists kept, rule ${test.rule}`,
          percent(test.ensemble, 2),
        ],
        [
          'difference, paired, one seed',
          `${(100 * test.difference.top1).toFixed(2)} ± ${(100 * test.difference.standardError).toFixed(2)} points`,
        ],
      ],
    );
  const costs = table(
    ['stage', 'time', 'processor time', 'peak memory'],
    [
      ...stages.map((stage) => [
        `\`${stage.command}\`${stage.failure === undefined ? '' : ' (did not end)'}`,
        ...figures(stage),
      ]),
      ...(rival ? [[`rival: \`${rival.training.command}\``, ...figures(rival.training)]] : []),
      [
        rival ? 'all, without the rival' : 'all',
        ...figures({
          seconds: total('seconds'),
          processorSeconds: total('processorSeconds'),
          peakBytes: most,
        }),
      ],
    ],
  );
  const checked =
    checkedTop1 === undefined
      ? ''
      : ` The generalist's top-1 on validation rows at the end of its training is ${percent(checkedTop1, 1)}.`;
  const failed = stages.find(({ failure }) => failure !== undefined);
  const end =
    failed === undefined
      ? test === undefined
        ? `Not finished: the last stage that ran is \`${stages.at(-1)?.command}\`.${checked}`
        : undefined
      : `Not finished: \`${failed.command}\` ended with\n\n\`\`\`\n${failed.failure}\n\`\`\``;
  const options = `\`\`\`\n${commands.map((words) => `kd-spec ${words.join(' ')}`).join('\n')}\n\`\`\``;
  return [`## ${count(classes)} classes`, embeddings, gain, costs, end, options]
    .filter((part) => part !== undefined)
    .join('\n\n');
}
