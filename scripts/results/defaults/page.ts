import { stringify } from 'yaml';
import { percent } from '../../../src/core/percent.js';
import type { TestAccuracy } from '../../../src/evaluation/accuracy.js';
import { signed, table, teras } from '../format.js';
import type { Overrides } from '../workspace.js';
import type { FolderSummary } from './drawings.js';
import { benchmarks } from './variants.js';

/** A generalist, judged on validation. */
export interface GeneralistRun {
  readonly label: string;
  readonly epochs: number;
  readonly keptEpoch: number;
  readonly loss: number;
  readonly validationTop1: number;
  readonly validationLoss: number;
  readonly trainingFlops: number;
  readonly trainingSeconds: number;
}

interface OnValidation {
  readonly top1: number;
  readonly negativeLogLikelihood: number;
}

/** Specialists on one generalist, judged on validation by cross-fitting. */
export interface SpecialistsRun {
  readonly label: string;
  /** The rules that were fitted, the one in use first. */
  readonly rules: readonly {
    readonly rule: string;
    readonly kept: number;
    readonly crossFitted: OnValidation;
  }[];
  readonly generalist: OnValidation;
  readonly trained: number;
  readonly confusionInside: number;
  readonly sizes: { readonly least: number; readonly median: number; readonly most: number };
  readonly trainingFlops: number;
  readonly trainingSeconds: number;
}

/** Settings that looked at the test images, once. */
export interface TestRun {
  readonly label: string;
  readonly rule: string;
  readonly kept: number;
  readonly trained: number;
  readonly test: TestAccuracy;
  readonly generalistFlops: number;
  readonly specialistFlops: number;
}

const folderNames = ['emoji', 'icons'] as const;
export type FolderName = (typeof folderNames)[number];
export type DataName = FolderName | keyof typeof benchmarks;
export const isDataName = (name: string): name is DataName =>
  folderNames.some((one) => one === name) || name in benchmarks;

export interface DefaultsResult {
  readonly folders: Readonly<Partial<Record<FolderName, FolderSummary>>>;
  readonly old: Overrides;
  readonly chosen: Overrides;
  readonly runs: readonly {
    readonly data: DataName;
    readonly seed: number;
    /** The flags with which it was made. */
    readonly command: string;
    readonly generalists: readonly GeneralistRun[];
    readonly specialists: readonly SpecialistsRun[];
    readonly tests: readonly TestRun[];
  }[];
}

const decimals = (value: number) => value.toFixed(3);
const points = (share: number) => `${share >= 0 ? '+' : ''}${(100 * share).toFixed(2)}`;

const generalistTable = (runs: readonly GeneralistRun[]) =>
  table(
    ['generalist', 'epochs', 'kept', 'validation top-1', 'validation NLL', 'training loss', 'training'],
    runs.map((run) => [
      run.label,
      run.epochs.toFixed(1),
      run.keptEpoch.toFixed(1),
      percent(run.validationTop1),
      decimals(run.validationLoss),
      decimals(run.loss),
      teras(run.trainingFlops),
    ]),
  );

const specialistsTable = (runs: readonly SpecialistsRun[]) =>
  table(
    ['specialists', 'rule', 'kept', 'sizes', 'inside', 'top-1', 'points', 'NLL', 'training'],
    [
      ...runs
        .slice(0, 1)
        .map(({ generalist }) => [
          'none, the new generalist alone',
          ...['', '', '', ''],
          percent(generalist.top1),
          '',
          decimals(generalist.negativeLogLikelihood),
          '',
        ]),
      ...runs.flatMap(({ label, rules, generalist, trained, sizes, confusionInside, trainingFlops }) =>
        rules.map(({ rule, kept, crossFitted }, index) => [
          index === 0 ? label : '',
          index === 0 ? `**${rule}**` : rule,
          `${kept} of ${trained}`,
          `${sizes.least}–${sizes.most}`,
          percent(confusionInside),
          percent(crossFitted.top1),
          points(crossFitted.top1 - generalist.top1),
          decimals(crossFitted.negativeLogLikelihood),
          teras(trainingFlops),
        ]),
      ),
    ],
  );

const testTable = (runs: readonly TestRun[]) =>
  table(
    ['test top-1', 'generalist', 'ensemble', 'difference', 'rule', 'kept', 'training'],
    runs.map(({ label, test, rule, kept, trained, generalistFlops, specialistFlops }) => [
      label,
      `${percent(test.generalist.top1)} ± ${(100 * test.generalist.top1StandardError).toFixed(1)}`,
      `${percent(test.ensemble.top1)} ± ${(100 * test.ensemble.top1StandardError).toFixed(1)}`,
      `${signed(test.difference.top1)} ± ${(100 * test.difference.top1StandardError).toFixed(1)}`,
      rule,
      `${kept} of ${trained}`,
      `${teras(generalistFlops)} + ${teras(specialistFlops)}`,
    ]),
  );

function folderText(name: string, { classes, images, train, validation, test, sets }: FolderSummary): string {
  const parts =
    train === undefined
      ? 'split at random, a tenth for validation and a tenth for the test'
      : `${train} for training, ${validation} for validation, ${test} for the test, split by families of sets`;
  return `- **${name}**: ${classes} classes, ${images} images out of ${sets.length} sets; ${parts}.`;
}

/** The page, from its JSON alone. */
export function renderDefaults({ folders, old, chosen, runs }: DefaultsResult): string {
  const shown = runs.filter(({ generalists, specialists }) => generalists.length + specialists.length > 0);
  return `# Defaults, chosen on small folders of images

What a user has: some hundreds of classes with about ten images each. Two folders are drawn from the npm package
\`@iconify/json\` (sets under GPL, NC and SA licences are left out), 32 x 32 pixels and grey, read at 20 x 20:

${folderNames.flatMap((name) => (folders[name] ? [folderText(name, folders[name])] : [])).join('\n')}

The two benchmarks stand beside them, as small:

${Object.entries(benchmarks)
  .map(([name, { description }]) => `- **${name}**: ${description}.`)
  .join('\n')}

Everything is compared on validation; what has specialists by cross-fitting, each half of the images under what was
chosen on the other half; validation takes the rule in bold. NLL is the mean negative log-likelihood in nats, that of a
generalist alone at a temperature of 1. The test images were read once, at the end.

${shown
  .map(({ data, seed, generalists, specialists, tests }) =>
    [
      `## ${data}, seed ${seed}`,
      ...(generalists.length > 0 ? [generalistTable(generalists)] : []),
      ...(specialists.length > 0 ? [specialistsTable(specialists)] : []),
      ...(tests.length > 0 ? [testTable(tests)] : []),
    ].join('\n\n'),
  )
  .join('\n\n')}

## Settings

Old, written out:

${indented(stringify(old))}
New:

${indented(stringify(chosen))}
Remake it, with every figure in \`defaults.json\`:

${runs.map(({ command }) => `    npm run build && npx tsx scripts/results/defaults.ts ${command}`).join('\n')}
`;
}

const indented = (text: string) => text.replaceAll(/^(?=.)/gm, '    ');
