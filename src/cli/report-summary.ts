import type { JsonObject } from '../core/json.js';
import { percent, percentWithin, shortPercent, signedWithin } from '../core/percent.js';
import { count, duration, operations } from '../core/quantity-text.js';
import type { Report, StageCost } from '../evaluation/report.js';
import { metricsOf } from '../pipeline/stage-metrics.js';
import { exampleSummary } from './example-summary.js';
import { alignColumns, describeMetrics } from './summary.js';

/** What the report itself does not know. */
export interface ReportPlace {
  /** The page, as a path to open. */
  readonly page: string;
  /** Of the report's own stage. */
  readonly seconds: number;
  /** What became of each stage in this run, e.g. `up to date`. */
  readonly status?: Readonly<Record<string, string>>;
  /** What to do next. */
  readonly next?: string;
  readonly color?: boolean;
}

/**
 * A report for a person: accuracies, coverage, costs, where the page is, and one image classified by both.
 *
 * @param metrics of the report stage: a {@link Report}; anything else, such as that of an older version, is listed
 */
export function reportSummary(
  metrics: JsonObject,
  { page, seconds, status, next, color = false }: ReportPlace,
): string {
  const report = metricsOf('report', metrics);
  if (report === undefined) return describeMetrics(metrics);
  const { dataset, fusion, coverage, example, stages } = report;
  return [
    `${dataset.description}.`,
    accuracies(report),
    ...(report.original
      ? [
          `The model as it was, before its last layer was refitted: ${percentWithin(report.original.top1, report.original.top1StandardError)}; ` +
            `the ensemble gains ${signedWithin(report.original.difference.top1, report.original.difference.top1StandardError)} over it.`,
        ]
      : []),
    ...(report.test.difference.top1 > 0 ? [] : [noBetter(report.fusion)]),
    ...(report.bystanders ? [bystanderText(report.bystanders, report)] : []),
    ...(coverage.length > 0 ? [coverageTable(report)] : []),
    `${count(fusion.kept)} of ${count(fusion.trained)} specialists kept on validation, fused by the rule ${fusion.rule}.`,
    ...(fusion.rules && fusion.rules.length > 1 ? [rulesTable(fusion.rules)] : []),
    costTable([...stages, { stage: 'report', seconds }], status),
    `Open ${page} for the whole report.`,
    ...(example === undefined ? [] : [exampleSummary(example, report, { color })]),
    ...(next === undefined ? [] : [next]),
  ].join('\n\n');
}

/** What helps where specialists do not. */
function noBetter({ kept }: Report['fusion']): string {
  if (kept === 0) return 'Validation kept no specialist: the ensemble is the generalist.';
  return (
    'The ensemble is no better than its generalist on these images. More validation images, which choose\n' +
    'the specialists, help most; --risk 5% uses specialists only where held-out validation shows a gain.'
  );
}

function accuracies({ split, test, conditional, ceiling, student }: Report): string {
  type Top = { readonly top1: number; readonly top1StandardError: number };
  type Tops = Top & { readonly top5: number; readonly top5StandardError: number };
  const row = (name: string, all: Tops, within: Top, show: typeof percentWithin) => [
    name,
    show(all.top1, all.top1StandardError),
    show(all.top5, all.top5StandardError),
    show(within.top1, within.top1StandardError),
  ];
  const table = alignColumns(
    [
      ['', `${split} top-1`, `${split} top-5`, 'conditional top-1'],
      row('generalist', test.generalist, conditional.generalist, percentWithin),
      row('ensemble', test.ensemble, conditional.ensemble, percentWithin),
      row('difference', test.difference, conditional.difference, signedWithin),
      ...(student
        ? [
            [
              'student',
              percentWithin(student.top1, student.top1StandardError),
              percentWithin(student.top5, student.top5StandardError),
            ],
          ]
        : []),
      ...(ceiling ? [['ceiling', percentWithin(ceiling.top1, ceiling.standardError)]] : []),
    ],
    'lrrr',
  );
  const notes = [
    `± one standard error, that of paired differences for the difference; ${count(test.examples)} images. Conditional: only`,
    `the classes of a specialist that covers the true class, ${count(conditional.pairs)} pairs of image and specialist.`,
    ...(ceiling ? ['Ceiling: a classifier that knows how the images were made.'] : []),
  ];
  return `${table}\n\n${notes.join('\n')}`;
}

function bystanderText(
  {
    examples,
    labelled,
    generalist,
    ensemble,
    agreement,
    harm,
    standardError,
    bound,
  }: NonNullable<Report['bystanders']>,
  { original }: Pick<Report, 'original'>,
): string {
  const right =
    generalist && ensemble
      ? `${percentWithin(generalist.top1, generalist.top1StandardError)} of the ${count(labelled)} with a label right before, ` +
        `${percentWithin(ensemble.top1, ensemble.top1StandardError)} after; `
      : '';
  return (
    `Bystanders, ${count(examples)} images of what no specialist learned: ${right}${percent(agreement)} of predictions are ` +
    `${original === undefined ? "the generalist's" : 'as they were'}.\nHarm ${percentWithin(harm, standardError)}${bound === undefined ? '' : `, where at most ${shortPercent(bound)} was allowed`}.`
  );
}

function rulesTable(rules: NonNullable<Report['fusion']['rules']>): string {
  return alignColumns(
    [
      ['rule, on validation', 'top-1', 'negative log-likelihood'],
      ...rules.map(({ rule, top1, negativeLogLikelihood }, index) => [
        `${rule}${index === 0 ? ', in use' : ''}`,
        percent(top1),
        `${negativeLogLikelihood.toFixed(3)} nats`,
      ]),
    ],
    'lrr',
  );
}

function coverageTable({ coverage }: Report): string {
  const rows = coverage.map((row) => [
    count(row.specialists),
    count(row.examples),
    count(row.generalistCorrect),
    count(row.ensembleCorrect),
    row.relativeChange === undefined
      ? ''
      : signedWithin(row.relativeChange, row.relativeChangeStandardError ?? 0),
  ]);
  const header = ['specialists', 'images', 'generalist', 'ensemble', 'relative change'];
  return `Correct predictions, by how many specialists cover the true class:\n\n${alignColumns([header, ...rows], 'rrrrr')}`;
}

function costTable(
  stages: readonly StageCost[],
  status: Readonly<Record<string, string>> | undefined,
): string {
  const total = stages.reduce((sum, { seconds }) => sum + seconds, 0);
  const rows = stages.map(({ stage, seconds, trainingSeconds, trainingFlops }) => [
    stage,
    duration(seconds),
    percent(total > 0 ? seconds / total : 0, 0),
    trainingSeconds === undefined ? '' : duration(trainingSeconds),
    trainingFlops === undefined ? '' : operations(trainingFlops),
    status?.[stage] ?? '',
  ]);
  const header = ['stage', 'time', 'share', 'training', 'computation', ''];
  const table = alignColumns([header, ...rows, ['all', duration(total)]], 'lrrrrl');
  const isSummed = stages.some(({ seconds, trainingSeconds = 0 }) => trainingSeconds > seconds);
  return isSummed ? `${table}\n\nTraining is summed over processes that work side by side.` : table;
}
