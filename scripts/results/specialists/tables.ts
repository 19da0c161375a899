/**
 * The tables of a benchmark's section, each with the sentence above it: paragraphs, none where there is nothing to show.
 */

import { percent } from '../../../src/core/percent.js';
import { routingRuleText } from '../../../src/evaluation/charts.js';
import { meanOf, signed, table, teras, within } from '../format.js';
import { correlation } from './confusion-and-gain.js';
import { type AblationResult, allOf, type Comparison, order, type Result, titles } from './result.js';

type Paragraphs = readonly string[];

/** Everybody on the test images, with what each cost. */
export function contenderTable(result: Result): Paragraphs {
  const { comparisons } = result;
  const [{ ceiling }] = comparisons;
  const reference = meanOf(comparisons.map(({ contenders }) => contenders.generalist.top1.mean));
  const rows = order.flatMap((who) => {
    const of = allOf(result, who);
    if (of.length === 0) return [];
    const top1 = meanOf(of.map((one) => one.top1.mean));
    return [
      [
        titles[who],
        within(of.map((one) => one.conditional)),
        within(of.map((one) => one.top1)),
        who === 'generalist' ? '' : signed(top1 / reference - 1),
        within(of.map((one) => one.top5)),
        meanOf(of.map((one) => one.likelihood.negativeLogLikelihood)).toFixed(3),
        percent(meanOf(of.map((one) => one.likelihood.calibrationError))),
        teras(meanOf(of.map((one) => one.trainingFlops))),
        `${Math.round(meanOf(of.map((one) => one.trainingSeconds)))} s`,
        `${(meanOf(of.map((one) => one.flopsPerImage)) / 1e6).toFixed(2)} MFLOP`,
        `${(meanOf(of.map((one) => one.parameters)) / 1e3).toFixed(0)}k`,
      ],
    ];
  });
  return [
    `Test images, each looked at once by every row. ${comparisons.length === 1 ? '± is the standard error on the test images' : `Mean over ${comparisons.length} seeds ± standard deviation between seeds`}. ` +
      'The rows below our method have the training computation of generalist and specialists together; where images can be made without end, training that is longer is on fresh ones.' +
      (ceiling
        ? ` A classifier that knows how the images were made has ${percent(ceiling.top1)} ± ${(100 * ceiling.standardError).toFixed(1)}.`
        : ''),
    table(
      [
        '',
        'conditional top-1',
        'test top-1',
        'relative',
        'test top-5',
        'NLL',
        'ECE',
        'training',
        'time',
        'an answer',
        'parameters',
      ],
      rows,
    ),
  ];
}

/** How well probabilities fit when those that our method did not calibrate have a temperature of their own. */
export function temperedTable(result: Result): Paragraphs {
  const rows = order.flatMap((who) => {
    const tempered = allOf(result, who).flatMap((one) => one.tempered ?? []);
    if (who !== 'method' && tempered.length < result.comparisons.length) return [];
    const fits = who === 'method' ? allOf(result, who).map(({ likelihood }) => likelihood) : tempered;
    return [
      [
        titles[who],
        tempered.length > 0 ? meanOf(tempered.map(({ temperature }) => temperature)).toFixed(2) : '',
        meanOf(fits.map(({ negativeLogLikelihood }) => negativeLogLikelihood)).toFixed(3),
        percent(meanOf(fits.map(({ calibrationError }) => calibrationError))),
      ],
    ];
  });
  if (rows.length < 2) return [];
  return [
    'With a temperature fitted to validation images, for those for which one was:',
    table(['', 'temperature', 'NLL', 'ECE'], rows),
  ];
}

/** Our method's lead over its own generalist, seed by seed. */
export function seedTable(comparisons: readonly Comparison[]): Paragraphs {
  const points = ({ top1, top1StandardError }: Comparison['differences']['conditional']) =>
    `${(100 * top1).toFixed(2)} ± ${(100 * top1StandardError).toFixed(2)}`;
  const rows = comparisons.map(({ seed, differences, fusion, inference }) => [
    seed,
    points(differences.conditional),
    points(differences.test),
    `${fusion.kept} of ${fusion.trained}`,
    fusion.rule,
    inference ? (inference.ensembleImagesPerSecond / inference.generalistImagesPerSecond).toFixed(2) : '',
  ]);
  return [
    'Our method against its generalist, percentage points ± the standard error of the paired difference; images a second against the generalist alone, timed in turn:',
    table(['seed', 'conditional gain', 'test gain', 'kept', 'rule', 'images/s, share'], rows),
  ];
}

/** The paper's table 4. */
export function coverageTable({ seed, coverage }: Comparison): Paragraphs {
  const rows = coverage.map((row) => [
    row.specialists,
    row.examples.toLocaleString('en'),
    row.generalistCorrect.toLocaleString('en'),
    row.ensembleCorrect - row.generalistCorrect,
    row.relativeChange === undefined
      ? ''
      : `${signed(row.relativeChange)} ± ${(100 * (row.relativeChangeStandardError ?? 0)).toFixed(1)}`,
  ]);
  return [
    `By the number of specialists that cover the class (seed ${seed}):`,
    table(['specialists', 'images', 'generalist correct', 'change', 'relative'], rows),
  ];
}

/** Whether a subset that holds more of its classes' confusion gains more. */
export function confusionTable(comparisons: readonly Comparison[]): Paragraphs {
  const rows = comparisons.flatMap(({ seed, specialists = [] }) => {
    if (specialists.length === 0) return [];
    const of = (key: 'inside' | 'covered' | 'routed') => specialists.map((specialist) => specialist[key]);
    const range = (key: 'inside' | 'covered' | 'routed') =>
      `${percent(Math.min(...of(key)))} to ${percent(Math.max(...of(key)))}`;
    const coefficient = (key: 'covered' | 'routed') => correlation(of('inside'), of(key)).toFixed(2);
    return [
      [
        seed,
        specialists.length,
        range('inside'),
        range('covered'),
        coefficient('covered'),
        range('routed'),
        coefficient('routed'),
      ],
    ];
  });
  if (rows.length === 0) return [];
  return [
    "Of the confusion of a subset's classes, the share that is with one another (*inside*), and its correlation with what the specialist gains within its classes, and with what all gain on the images about which it was asked. Subsets of one clustering differ little in it, so that other things about them may decide; [those that hold less on purpose](inside-jft-like-3k.md) gain less:",
    table(
      ['seed', 'subsets', 'inside', 'gain within', 'correlation', 'gain where queried', 'correlation'],
      rows,
    ),
  ];
}

/** What it brings to ask more specialists about an image, and what it costs. */
export function routingTable({ seed, routing = [], contenders }: Comparison): Paragraphs {
  if (routing.length === 0) return [];
  const rows = routing.map((point) => [
    point.rule === 'top' && point.value === 1
      ? `${routingRuleText(point)} (the paper's)`
      : routingRuleText(point),
    point.active.toFixed(2),
    signed(point.flopsPerImage / contenders.generalist.flopsPerImage - 1, 0),
    percent(point.top1),
  ]);
  return [
    `What it brings to ask more specialists, and what it costs (seed ${seed}; temperatures and weights are those fitted under the pipeline's own rule):`,
    table(
      [
        'a specialist is queried for the',
        'specialists an image',
        'operations of an answer',
        'validation top-1',
      ],
      rows,
    ),
  ];
}

/** Whether the generalist was at its end. */
export function trainingCurve({ seed, curve }: Comparison): Paragraphs {
  const epochs = curve
    .filter(({ validationTop1 }) => validationTop1 !== undefined)
    .map(({ epoch, validationTop1 = 0 }) => `${epoch}: ${percent(validationTop1)}`);
  return [
    `Top-1 of the generalist on the first 5,120 validation images, by epoch (seed ${seed}): ${epochs.join(', ')}.`,
  ];
}

/** What each change to the method does on validation. */
export function ablationTable({ ablations, comparisons: [{ seed }] }: Result): Paragraphs {
  if (ablations.length === 0) return [];
  const rows = ablations.map((one, row) => [
    row > 0 && isAlike(one, ablations[0]) ? `${one.label} (no difference)` : one.label,
    one.rule,
    percent(one.generalist.top1, 2),
    percent(one.crossFitted.top1, 2),
    `${(100 * (one.crossFitted.top1 - one.generalist.top1)).toFixed(2)}`,
    one.crossFitted.negativeLogLikelihood.toFixed(3),
    percent(one.crossFitted.calibrationError),
    `${one.kept} of ${one.specialists}`,
    `${one.sizes.least}–${one.sizes.most}`,
    percent(one.confusionInside),
    teras(one.trainingFlops),
  ]);
  return [
    `Changes to the method on validation (seed ${seed}), each half of the images under what was fitted to the other half; *confusion inside* is by the matrix that was clustered:`,
    table(
      [
        '',
        'rule',
        'generalist',
        'top-1',
        'points',
        'NLL',
        'ECE',
        'kept',
        'sizes',
        'confusion inside',
        'specialists’ training',
      ],
      rows,
    ),
  ];
}

/**
 * Whether a change to the method changed nothing: the pipeline has it so, or no specialist was to be left out.
 * Likelihoods differ in a last digit by machine.
 */
const isAlike = (one: AblationResult, method: AblationResult) =>
  one.crossFitted.top1 === method.crossFitted.top1 &&
  Math.abs(one.crossFitted.negativeLogLikelihood - method.crossFitted.negativeLogLikelihood) < 1e-6;
