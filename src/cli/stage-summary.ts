import stringWidth from 'string-width';
import type { JsonObject } from '../core/json.js';
import { percent, percentWithin } from '../core/percent.js';
import { byteSize, count, duration, epochText, operations } from '../core/quantity-text.js';
import { type TradeOff, tradeOffTable } from '../evaluation/harm.js';
import { rivalDescriptions, rivalsTable } from '../evaluation/rivals/rivals-table.js';
import { metricsOf, type StageResults } from '../pipeline/stage-metrics.js';
import type { StageName } from '../pipeline/stage-names.js';
import { alignColumns, describeMetrics, fitWidth } from './summary.js';

type Metrics = Omit<StageResults, 'report'>;

const classesColumns = 72; // that the typical classes of a subset may take

/** What other bounds on the harm would bring. */
function tradeOffSummary(points: TradeOff): string {
  const { caption, header, rows } = tradeOffTable(points);
  return blocks(`${caption} (--harm bounds it):`, alignColumns([header, ...rows], 'rr'));
}

/** A foreign model: how it was read, and what it is worth on labelled images under each reading. */
function importSummary({
  classes,
  classNames,
  features,
  featureTensor,
  logits,
  outputHolds,
  input,
  check,
  refit,
}: NonNullable<Metrics['generalist']['imported']>): string {
  const [height, width, channels] = input.shape;
  return blocks(
    alignColumns([
      ['classes', `${count(classes)}, named by ${classNames === 'none' ? 'their numbers' : classNames}`],
      ['features', `${count(features)} ("${featureTensor}")`],
      ['output', `"${logits}": ${outputHolds}`],
      [
        'images',
        `${height} x ${width}, ${channels === 1 ? 'grey' : input.order.toUpperCase()}, ${input.layout}`,
      ],
      [
        'mean, std',
        `${input.mean.join(' ')}, ${input.std.map((value) => Number(value.toPrecision(4))).join(' ')}`,
      ],
    ]),
    alignColumns(
      [
        ['reading', 'images', 'top-1', 'negative log-likelihood'],
        ...check.readings.map(({ name, examples = check.examples, top1, negativeLogLikelihood }, place) => [
          place === 0 ? `${name}, in use` : name,
          count(examples),
          percent(top1),
          `${negativeLogLikelihood.toFixed(3)} nats`,
        ]),
      ],
      'lrrr',
    ),
    ...(refit
      ? [
          `Last layer refitted on the training images, over ${count(refit.classes)} classes, and mixed in by ${percent(refit.share)}: ` +
            `validation top-1 ${percent(refit.before)} to ${percent(refit.after)} (${duration(refit.seconds)}).`,
        ]
      : []),
  );
}

const summaries: { readonly [Name in keyof Metrics]: (metrics: Metrics[Name]) => string } = {
  dataset: ({ description, classes, train, validation, test, shards, bytes, bystanders }) =>
    blocks(
      `${description}.`,
      alignColumns(
        [
          ['', 'images', 'per class'],
          ...Object.entries({ train, validation, test }).map(([split, images]) => [
            split,
            count(images),
            (images / classes).toFixed(1),
          ]),
        ],
        'lrr',
      ),
      `${count(classes)} classes, ${byteSize(bytes)} in ${count(shards)} shards.`,
      ...(bystanders
        ? [
            `Bystanders, which tell what specialists do to the rest: ${count(bystanders.teach)} images teach these what lies ` +
              `outside, ${count(bystanders.bound)} others bound the harm, ${count(bystanders.test)} are for the test (${bystanders.description}).`,
          ]
        : []),
    ),

  generalist: ({
    epochs,
    keptEpoch = epochs,
    steps,
    loss,
    parameters,
    flopsPerImage,
    trainingFlops,
    trainingSeconds,
    validation,
    imported,
  }) =>
    imported
      ? importSummary(imported)
      : alignColumns([
          ['parameters', count(parameters)],
          ['per image', operations(flopsPerImage)],
          ['epochs', `${epochText(epochs)}, ${count(steps)} steps`],
          ...(keptEpoch === epochs
            ? []
            : [['kept', `epoch ${epochText(keptEpoch)}, the best on validation`]]),
          ['training', `${duration(trainingSeconds)}, ${operations(trainingFlops)}`],
          ['last loss', loss.toFixed(3)],
          ...(validation
            ? [
                [
                  'validation',
                  `top-1 ${percent(validation.top1)}, negative log-likelihood ${validation.negativeLogLikelihood.toFixed(3)} nats`,
                ],
              ]
            : []),
        ]),

  predictions: ({ split, rows, meanTop, meanMass, top1 }) =>
    alignColumns([
      ['images', `${count(rows)} (${split})`],
      ['top-1', percent(top1)],
      [
        'stored per image',
        `${meanTop.toFixed(1)} classes with ${percent(meanMass)} of the probability on average`,
      ],
    ]),

  subsets: ({
    classes,
    count: subsets,
    sizes,
    coverage,
    confusionInside,
    masses,
    seconds,
    classesBySubset,
  }) =>
    blocks(
      alignColumns([
        ['subsets', `${count(subsets)}, of ${sizesInWords(sizes)}`],
        ['coverage', `${percent(coverage)} of ${count(classes)} classes are in a subset`],
        ['confusion inside', `${percent(confusionInside)} is between classes of one subset`],
        ...(masses
          ? [
              [
                'confusion of a subset',
                `${percent(masses.least)} to ${percent(masses.most)} of all, median ${percent(masses.median)}`,
              ],
            ]
          : []),
        ['time', `affinity ${duration(seconds.affinity)}, clustering ${duration(seconds.clustering)}`],
      ]),
      alignColumns(
        [
          ['subset', 'classes', 'confusion inside', 'most typical'],
          ...classesBySubset.map(({ id, size, confusionInside: inside, mostTypical }) => [
            String(id),
            count(size),
            inside === undefined ? '' : percent(inside),
            fitNames(mostTypical, classesColumns),
          ]),
        ],
        'rrrl',
      ),
    ),

  specialists: ({ specialists, doneBefore, workers, engine, trainingSeconds, bySpecialist, validation }) =>
    blocks(
      `${count(specialists)} specialists${doneBefore > 0 ? `, ${count(doneBefore)} of them done before` : ''}; ` +
        `${duration(trainingSeconds)} of training ${whoTrained(workers, engine)}.`,
      alignColumns(
        [
          ['specialist', 'classes', 'last loss', 'dustbin raised by', 'divergence before training'],
          ...bySpecialist.map(({ id, classes, loss, dustbinCorrection, firstDivergence }) => [
            String(id),
            count(classes),
            loss.toFixed(3),
            `${dustbinCorrection.toFixed(3)} nats`,
            `${firstDivergence.toPrecision(2)} nats`,
          ]),
        ],
        'rrrrr',
      ),
      ...(validation && validation.pairs > 0
        ? [
            alignColumns(
              [
                ['within the classes of a specialist', 'top-1'],
                ...Object.entries({
                  generalist: validation.generalist,
                  specialists: validation.specialists,
                }).map(([who, { top1, top1StandardError }]) => [who, percentWithin(top1, top1StandardError)]),
              ],
              'lr',
            ),
            `On ${count(validation.examples)} validation images. What of this the ensemble keeps, kd-spec evaluate shows.`,
          ]
        : []),
    ),

  ensemble: ({
    rule,
    specialists,
    kept,
    generalistTemperature,
    labelNoise = 0,
    weight,
    examples,
    generalist,
    calibratedGeneralist,
    ensemble,
    rules = [],
    bystanders,
  }) =>
    blocks(
      alignColumns([
        ['rule', rule],
        ['specialists', `${count(kept)} of ${count(specialists)} kept`],
        ['temperature', `${generalistTemperature.toPrecision(3)} for the generalist`],
        ...(labelNoise > 0
          ? [['label noise', `${percent(labelNoise, 2)} of labels are taken to be any class`]]
          : []),
        [
          'weight',
          weight === null ? '' : `${weight.toPrecision(3)} for each specialist, 1 for the generalist`,
        ],
      ]),
      alignColumns(
        [
          ['', 'top-1', 'negative log-likelihood'],
          ...Object.entries({
            generalist,
            ...(calibratedGeneralist && { 'generalist, calibrated': calibratedGeneralist }),
            ensemble,
          }).map(([who, { top1, negativeLogLikelihood }]) => [
            who,
            percent(top1),
            `${negativeLogLikelihood.toFixed(3)} nats`,
          ]),
        ],
        'lrr',
      ),
      `Measured on the ${count(examples)} validation images that all of this was chosen on.`,
      ...(rules.length > 1
        ? [
            alignColumns(
              [
                ['rule', 'kept', 'top-1', 'negative log-likelihood'],
                ...rules.map((fitted, index) => [
                  `${fitted.rule}${index === 0 ? ', in use' : ''}`,
                  count(fitted.kept),
                  percent(fitted.crossFitted.top1),
                  `${fitted.crossFitted.negativeLogLikelihood.toFixed(3)} nats`,
                ]),
              ],
              'lrrr',
            ),
            'Each half of these images, with what was chosen on the other half.',
          ]
        : []),
      ...(bystanders?.tradeOff?.length ? [tradeOffSummary(bystanders.tradeOff)] : []),
    ),

  rivals: (report) => {
    const { verdict, caption, header, rows, notes } = rivalsTable(report);
    return blocks(
      verdict,
      `${caption}:`,
      alignColumns(
        [header, ...rows],
        header.map((name) => (name === 'rival' || name === 'chosen' ? 'l' : 'r')).join(''),
      ),
      notes.join('\n'),
      alignColumns(rivalDescriptions(report.rivals), 'll'),
    );
  },

  answers: ({ teacher, transfer, images, views, rows, top, classes, keptMass, validation, test }) =>
    alignColumns([
      ['teacher', teacher],
      [
        'transfer set',
        `${transfer} (${count(images)} images${views > 0 ? `, ${count(views)} views of each` : ''})`,
      ],
      [
        'soft targets',
        `${count(rows)}, of each ${count(top)} of ${count(classes)} classes with ${percent(keptMass)} of the probability`,
      ],
      ...(validation ? [['top-1, validation', percent(validation.top1)]] : []),
      ...(test ? [['top-1, test', percent(test.top1)]] : []),
    ]),

  student: ({ objective, teacher, transferImages, parameters, trainingSeconds, sweep, chosen, test, bias }) =>
    blocks(
      alignColumns([
        ...(teacher ? [['teacher', teacher.teacher]] : []),
        ['learned', `${objective}, on ${count(transferImages)} images`],
        ['parameters', count(parameters)],
        ['training', duration(trainingSeconds)],
        ...(bias
          ? [
              [
                'bias',
                `${bias.offset.toFixed(2)} for ${count(bias.classes.length)} unseen classes, set on validation`,
              ],
            ]
          : []),
      ]),
      alignColumns(
        [
          ['', 'temperature', 'weight of labels', 'validation errors', 'top-1'],
          ...sweep.map(({ temperature, hardWeight, validation }) => [
            temperature === chosen.temperature && hardWeight === chosen.hardWeight ? 'chosen' : '',
            String(temperature),
            String(hardWeight),
            count(validation.errors),
            percent(validation.top1),
          ]),
        ],
        'lrrrr',
      ),
      alignColumns(
        [
          ['test', 'errors', 'top-1'],
          ['student', count(test.errors), percent(test.top1)],
          ...(teacher?.test ? [['teacher', count(teacher.test.errors), percent(teacher.test.top1)]] : []),
          ...(teacher?.generalist
            ? [['generalist', count(teacher.generalist.test.errors), percent(teacher.generalist.test.top1)]]
            : []),
        ],
        'lrr',
      ),
      ...(teacher?.generalist ? [studentVerdict(test, teacher.generalist.test, teacher.test)] : []),
    ),
};

interface Measured {
  readonly examples: number;
  readonly top1: number;
}

/**
 * Whether a student is better than the generalist, and how much of the teacher's gain it keeps.
 *
 * The standard error of the difference takes both as measured on images of their own; on the same images, as here, it
 * is smaller.
 */
export function studentVerdict(student: Measured, generalist: Measured, teacher?: Measured): string {
  const variance = ({ top1, examples }: Measured) => (top1 * (1 - top1)) / Math.max(1, examples);
  const gain = student.top1 - generalist.top1;
  const error = Math.sqrt(variance(student) + variance(generalist));
  const points = (share: number) => (100 * Math.abs(share)).toFixed(2);
  if (gain <= 2 * error) {
    const isWorse = gain < -2 * error;
    return (
      (isWorse
        ? `The student is worse than the generalist by ${points(gain)} points ± ${points(error)}. `
        : `The student is no better than the generalist: ${gain < 0 ? '-' : '+'}${points(gain)} points ± ${points(error)} is within chance. `) +
      'Give it more units (--student-dense) or epochs (--student-epochs), or keep the generalist.'
    );
  }
  const possible = teacher === undefined ? 0 : teacher.top1 - generalist.top1;
  const share = possible > 2 * error ? `, ${percent(gain / possible)} of what its teacher gains` : '';
  return `The student gains ${points(gain)} points ± ${points(error)} over the generalist${share}.`;
}

/** What a stage did, for a person. Metrics of an unknown shape, such as an older version's, are simply listed. */
export function stageSummary(stage: StageName, metrics: JsonObject): string {
  const known = stage === 'report' ? undefined : summaryOf(stage, metrics);
  return known ?? describeMetrics(metrics);
}

function summaryOf<Name extends keyof Metrics>(stage: Name, metrics: JsonObject): string | undefined {
  const known: Metrics[Name] | undefined = metricsOf(stage, metrics);
  return known && summaries[stage](known);
}

function whoTrained(workers: number, engine: string | undefined): string {
  if (engine !== undefined && engine !== 'local') return `by jobs of ${engine}`;
  return workers === 1 ? 'in one process' : `in ${workers} processes`;
}

function sizesInWords({ least, median, most }: Metrics['subsets']['sizes']): string {
  return least === most
    ? `${count(most)} classes each`
    : `${count(least)} to ${count(most)} classes, median ${count(median)}`;
}

/** As many names as fit beside each other, the first in any case. */
function fitNames(names: readonly string[], columns: number): string {
  let [text = ''] = names;
  for (const name of names.slice(1)) {
    const longer = `${text}, ${name}`;
    if (stringWidth(longer) > columns) break;
    text = longer;
  }
  return fitWidth(text, columns);
}

function blocks(...parts: readonly string[]): string {
  return parts.join('\n\n');
}
