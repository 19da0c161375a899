import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ruleText } from '../../../src/evaluation/report-routing.js';
import { meanOf, percent, signed, table, teras, within } from '../format.js';
import { correlation } from './confusion-and-gain.js';
import {
  type AblationResult,
  allOf,
  type Comparison,
  order,
  type Result,
  rivals,
  titles,
  type Who,
} from './result.js';
import { renderSummary } from './summary.js';

const names = ['jft-like-3k', 'han-3k', 'jft-like-15k', 'han-15k'];
/** Says first what did not work. */
function verdict(result: Result): string {
  const of = (who: Who) => meanOf(allOf(result, who).map(({ top1 }) => top1.mean));
  const run = rivals.filter((rival) => allOf(result, rival).length > 0);
  const missing = rivals.filter((rival) => !run.includes(rival)).map((rival) => titles[rival]);
  const behind = run.filter((rival) => of(rival) >= of('method'));
  const relative = (who: Who) => signed(of(who) / of('generalist') - 1);
  const notRun = missing.length > 0 ? ` Not run: ${missing.join(', ')}.` : '';
  const gain = `The specialists raise test top-1 by ${relative('method')} (relative)`;
  if (run.length === 0) return `${gain}.${notRun}`;
  if (behind.length > 0) {
    const who = behind.map((rival) => `${titles[rival]} (${percent(of(rival))})`).join(', ');
    return `**The specialists do not win here.** ${gain}, to ${percent(of('method'))}; with the same training computation at least as good: ${who}.${notRun}`;
  }
  const best = run.reduce((a, b) => (of(b) > of(a) ? b : a));
  return `${gain}, more than the same training computation bought otherwise: the next best, ${titles[best]}, changes it by ${relative(best)}.${notRun}`;
}

/** The flags beyond the seeds with which a result was made. */
function asked(result: Result): string {
  const run = order.filter(
    (who) => who !== 'generalist' && who !== 'method' && allOf(result, who).length > 0,
  );
  const contenders = run.length === order.length - 2 ? '' : ` --contenders ${run.join(',') || 'none'}`;
  return contenders + (result.ablationPattern ? ` --ablations '${result.ablationPattern}'` : '');
}

function section(result: Result): string {
  const { name, comparisons, ablations } = result;
  const all = <T>(pick: (one: Comparison) => T) => comparisons.map(pick);
  const reference = meanOf(all(({ contenders }) => contenders.generalist.top1.mean));
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
  const [first] = comparisons;
  const coverage = first.coverage.map((row) => [
    row.specialists,
    row.examples.toLocaleString('en'),
    row.generalistCorrect.toLocaleString('en'),
    row.ensembleCorrect - row.generalistCorrect,
    row.relativeChange === undefined
      ? ''
      : `${signed(row.relativeChange)} ± ${(100 * (row.relativeChangeStandardError ?? 0)).toFixed(1)}`,
  ]);
  const seedRows = comparisons.map(({ seed, differences, fusion, inference }) => [
    seed,
    `${(100 * differences.conditional.top1).toFixed(2)} ± ${(100 * differences.conditional.top1StandardError).toFixed(2)}`,
    `${(100 * differences.test.top1).toFixed(2)} ± ${(100 * differences.test.top1StandardError).toFixed(2)}`,
    `${fusion.kept} of ${fusion.trained}`,
    fusion.rule,
    inference ? (inference.ensembleImagesPerSecond / inference.generalistImagesPerSecond).toFixed(2) : '',
  ]);
  const curve = first.curve
    .filter(({ validationTop1 }) => validationTop1 !== undefined)
    .map(({ epoch, validationTop1 = 0 }) => `${epoch}: ${percent(validationTop1)}`);
  const ablationRows = ablations.map((one, row) => [
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
    `## ${name}`,
    verdict(result),
    ...(result.note ? [result.note] : []),
    `Test images, each looked at once by every row. ${comparisons.length === 1 ? '± is the standard error on the test images' : `Mean over ${comparisons.length} seeds ± standard deviation between seeds`}. ` +
      'The rows below our method have the training computation of generalist and specialists together; where images can be made without end, training that is longer is on fresh ones.' +
      (first.ceiling
        ? ` A classifier that knows how the images were made has ${percent(first.ceiling.top1)} ± ${(100 * first.ceiling.standardError).toFixed(1)}.`
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
    ...temperedTable(result),
    'Our method against its generalist, percentage points ± the standard error of the paired difference; images a second against the generalist alone, timed in turn:',
    table(['seed', 'conditional gain', 'test gain', 'kept', 'rule', 'images/s, share'], seedRows),
    `By the number of specialists that cover the class (seed ${first.seed}):`,
    table(['specialists', 'images', 'generalist correct', 'change', 'relative'], coverage),
    ...confusionTable(comparisons),
    ...routingTable(first),
    `Validation top-1 of the generalist by epoch (seed ${first.seed}): ${curve.join(', ')}.`,
    ...(ablations.length === 0
      ? []
      : [
          `Changes to the method on validation (seed ${first.seed}), each half of the images under what was fitted to the other half:`,
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
            ablationRows,
          ),
        ]),
    `Remake it, with every figure in \`specialists/${name}.json\`:\n\n    npm run build && npx tsx scripts/results/specialists.ts ${name} --seeds ${comparisons.map(({ seed }) => seed).join(',')}${asked(result)}`,
  ].join('\n\n');
}

/**
 * Whether a change to the method changed nothing: the pipeline has it so, or no specialist was to be left out.
 * Likelihoods differ in a last digit by machine.
 */
const isAlike = (one: AblationResult, method: AblationResult) =>
  one.crossFitted.top1 === method.crossFitted.top1 &&
  Math.abs(one.crossFitted.negativeLogLikelihood - method.crossFitted.negativeLogLikelihood) < 1e-6;

/** How well probabilities fit when those that our method did not calibrate have a temperature of their own. */
function temperedTable(result: Result): readonly string[] {
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

/** Whether a subset that holds more of its classes' confusion gains more. */
function confusionTable(comparisons: readonly Comparison[]): readonly string[] {
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
      ['seed', 'subsets', 'inside', 'gain within', 'correlation', 'gain where asked', 'correlation'],
      rows,
    ),
  ];
}

/** What it brings to ask more specialists about an image, and what it costs. */
function routingTable({ seed, routing = [], contenders }: Comparison): readonly string[] {
  if (routing.length === 0) return [];
  const rows = routing.map((point) => [
    point.rule === 'top' && point.value === 1 ? `${ruleText(point)} (the paper's)` : ruleText(point),
    point.active.toFixed(2),
    signed(point.flopsPerImage / contenders.generalist.flopsPerImage - 1, 0),
    percent(point.top1),
  ]);
  return [
    `What it brings to ask more specialists, and what it costs (seed ${seed}; temperatures and weights are those fitted under the pipeline's own rule):`,
    table(
      [
        'a specialist is asked for the',
        'specialists an image',
        'operations of an answer',
        'validation top-1',
      ],
      rows,
    ),
  ];
}

/** The page of all benchmarks that were run, from their JSON alone. */
export function renderPage(results: readonly Result[]): string {
  const losing = results.filter((result) => verdict(result).startsWith('**'));
  return `# Specialists against what the same computation buys otherwise

${losing.length > 0 ? `Where specialists do not win: ${losing.map(({ name }) => name).join(', ')}; the sections say by how much.\n\n` : ''}Everything was chosen on validation. *Conditional*: only the classes of a kept specialist that covers the true class.
NLL is the mean negative log-likelihood in nats, ECE the expected calibration error. Training computation counts what
all specialists share, and three times a forward pass for each image of a step.

What to keep in mind: all were trained on the backend \`tensorflow\` (\`npm run native\`); others give slightly other
figures. Networks and settings were changed, by validation, after earlier versions of these pipelines had
been read on the same test images. Rivals have the generalist's learning rate and batches, and their NLL and ECE are of
the softmax as it is, where our method fits temperatures and a weight on validation images. Rivals with more filters were
not tried. ± takes images as independent; those of one font are not, and seeds share the fonts.

${renderSummary(results)}

${results.map(section).join('\n\n')}
`;
}

/** Writes `specialists.md` from the JSON files beside it. */
export function writePage(folder: string): void {
  writeFileSync(join(folder, 'specialists.md'), renderPage(readResults(folder)));
}

/** The results of the benchmarks that were run, in the order of the page. */
export function readResults(folder: string): readonly Result[] {
  return names
    .map((name) => join(folder, 'specialists', `${name}.json`))
    .filter(existsSync)
    .map((path): Result => JSON.parse(readFileSync(path, 'utf8')));
}
