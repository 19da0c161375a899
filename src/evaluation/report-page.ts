import { percent, percentWithin, signedPercent, signedWithin } from '../core/percent.js';
import { count, duration, epochText, operations } from '../core/quantity-text.js';
import {
  accuracyChart,
  rankedChart,
  reliabilityChart,
  routingCurve,
  routingRuleText,
  signedChart,
} from './charts.js';
import { lossCurve, specialistCurves, trainingCurve } from './curve-charts.js';
import type { Gallery, GalleryPart } from './gallery.js';
import { galleryTile } from './gallery-tile.js';
import { escapeHtml, htmlPage, htmlTable } from './html.js';
import type { Report } from './report.js';
import type { ReportDetails } from './report-details.js';
import { rivalDescriptions, rivalsTable } from './rivals/rivals-table.js';

/** What the script of a page reads. */
export interface PageData
  extends Pick<ReportDetails, 'classes' | 'counts' | 'confusions' | 'specialists' | 'thumbnails'> {
  readonly split: Report['split'];
  /** On the split, of the specialists that were kept. */
  readonly gains: Report['specialists'];
}

/**
 * One self-contained page that shows a report: no request, light and dark. Figures stand in the page itself; what has as many
 * parts as there are classes is searched and paged by a small script.
 *
 * @param report from the evaluation
 * @param details of classes and images
 * @returns HTML, to be written as `index.html`
 */
export function renderReportPage(report: Report, details: ReportDetails): string {
  const sections: readonly (readonly [id: string, name: string, body: string])[] = [
    ['harm', 'Harm', bystanderSection(report)],
    ['rivals', 'Rivals', rivalsSection(report)],
    ['coverage', 'By coverage', coverageSection(report)],
    ['map', 'Map of confusions', mapSection(report, details)],
    ['pairs', 'Confused pairs', pairSection(report, details)],
    ['classes', 'Classes', classSection(report, details)],
    ['specialists', 'Specialists', specialistSection(report, details)],
    ['images', 'Images', gallerySection(details.gallery, report)],
    ['probabilities', 'Probabilities', likelihoodSection(report, details)],
    ['rules', 'Fusion rules', rulesSection(report)],
    ['cost', 'Cost', costSection(report)],
    ['training', 'Training', trainingSection(report, details)],
    ['settings', 'Settings', settingsSection(report, details)],
  ];
  const present = sections.filter(([, , body]) => body !== '');
  const { classes, counts, confusions, specialists, thumbnails } = details;
  const data: PageData = {
    split: report.split,
    gains: report.specialists,
    classes,
    counts,
    confusions,
    specialists,
    thumbnails,
  };
  const body = present.map(([id, , html]) => `<section id="${id}">${html}</section>`).join('\n');
  return htmlPage('kd-spec report', headline(report) + body, {
    contents: present.map(([id, name]) => [id, name]),
    data,
    script: 'report.js',
  });
}

/** What stands where the script puts a list. */
const withoutScript = '<p class="note">This list needs the script of the page.</p>';

function headline({ dataset, split, test, conditional, fusion, ceiling, student }: Report): string {
  const cards = [
    { name: `${titled(split)} top-1`, ...test },
    { name: 'Conditional top-1', ...conditional },
  ].map(({ name, generalist, ensemble, difference, relativeGain }) => {
    const relative = relativeGain === undefined ? '' : `, ${signedPercent(relativeGain)} relative`;
    return (
      `<div class="card"><h2>${name}</h2><p class="figure">${percent(generalist.top1)} ` +
      `<span aria-label="to">→</span> <strong>${percent(ensemble.top1)}</strong></p>` +
      `<p class="note">${signedWithin(difference.top1, difference.top1StandardError)}${relative}</p></div>`
    );
  });
  const top = (who: Report['test']['generalist']) => [
    percentWithin(who.top1, who.top1StandardError),
    percentWithin(who.top5, who.top5StandardError),
  ];
  const conditionalTop1 = (who: Report['conditional']['ensemble']) =>
    percentWithin(who.top1, who.top1StandardError);
  const rows = [
    ['Generalist', ...top(test.generalist), conditionalTop1(conditional.generalist)],
    ['Specialists alone', '', '', conditionalTop1(conditional.specialists)],
    ['Ensemble', ...top(test.ensemble), conditionalTop1(conditional.ensemble)],
    [
      'Ensemble − generalist',
      signedWithin(test.difference.top1, test.difference.top1StandardError),
      signedWithin(test.difference.top5, test.difference.top5StandardError),
      signedWithin(conditional.difference.top1, conditional.difference.top1StandardError),
    ],
    ...(student === undefined ? [] : [['Student', ...top(student), '']]),
    ...(ceiling === undefined
      ? []
      : [['Ceiling of the data set', percentWithin(ceiling.top1, ceiling.standardError), '', '']]),
  ];
  return (
    `<header><h1>Generalist and ensemble</h1><p>${escapeHtml(dataset.description)}.</p>` +
    `<p class="note">${count(dataset.classes)} classes; ${count(fusion.kept)} of ${count(fusion.trained)} specialists kept on validation, fused by the rule ` +
    `“${escapeHtml(fusion.rule)}”.</p></header><div class="cards">${cards.join('')}</div>` +
    accuracyChart(
      [
        { label: 'Generalist', ...top1Of(test.generalist) },
        { label: 'Ensemble', ...top1Of(test.ensemble) },
        ...(student === undefined ? [] : [{ label: 'Student', ...top1Of(student) }]),
        ...(ceiling === undefined
          ? []
          : [{ label: 'Ceiling', value: ceiling.top1, standardError: ceiling.standardError }]),
      ],
      `Top-1 on ${split} with one standard error`,
    ) +
    htmlTable(
      'Accuracy, ± one standard error',
      ['', `${split} top-1`, `${split} top-5`, 'conditional top-1'],
      rows,
    ) +
    `<p class="note">${titled(split)}: ${count(test.examples)} examples, all classes. Conditional: ${count(conditional.pairs)} pairs ` +
    'of an example and a specialist that covers its label, predictions restricted to that specialist’s classes. ' +
    `Errors of differences are paired.${ceiling === undefined ? '' : ' Ceiling: a classifier that knows how the images were made.'}</p>`
  );
}

const top1Of = ({ top1, top1StandardError }: Report['test']['generalist']) => ({
  value: top1,
  standardError: top1StandardError,
});

/** What happens to the classes that nobody touched. */
function bystanderSection({ bystanders }: Report): string {
  if (bystanders === undefined) return '';
  const { description, examples, labelled, generalist, ensemble, agreement, harm, standardError, bound } =
    bystanders;
  const accuracy = (who: typeof generalist) =>
    who === undefined ? '' : percentWithin(who.top1, who.top1StandardError);
  const rows = [
    [`Top-1 of the generalist, ${count(labelled)} images with a label`, accuracy(generalist)],
    ['Top-1 of the ensemble', accuracy(ensemble)],
    ['Predictions that stay as they were', percent(agreement)],
    ['Harm', percentWithin(harm, standardError)],
    ...(bound === undefined ? [] : [['Allowed', percent(bound)]]),
  ];
  return (
    '<h2>Harm to bystanders</h2>' +
    htmlTable('Images of what no specialist learned, ± one standard error', ['', ''], rows) +
    `<p class="note">${count(examples)} images: ${escapeHtml(description)}. Harm is the accuracy that they lose; of images ` +
    'without a label, every prediction that changes.</p>'
  );
}

/** What else could be done with the same images. */
function rivalsSection({ rivals }: Report): string {
  if (rivals === undefined) return '';
  const { verdict, caption, header, rows, notes } = rivalsTable(rivals);
  return (
    `<h2>Rivals</h2><p>${escapeHtml(verdict)}</p>${htmlTable(caption, header, rows)}` +
    `<p class="note">${notes.map(escapeHtml).join(' ')}</p>` +
    htmlTable('What each of them is', ['rival', ''], rivalDescriptions(rivals.rivals), { holds: 'texts' })
  );
}

function coverageSection({ coverage }: Report): string {
  if (coverage.length === 0) return '';
  const name = (specialists: number) => `${specialists} ${specialists === 1 ? 'specialist' : 'specialists'}`;
  const rows = coverage.map((row) => [
    name(row.specialists),
    count(row.examples),
    count(row.generalistCorrect),
    count(row.ensembleCorrect),
    row.relativeChange === undefined
      ? ''
      : signedWithin(row.relativeChange, row.relativeChangeStandardError ?? 0),
  ]);
  const bars = coverage.flatMap(
    ({ specialists, relativeChange = 0, relativeChangeStandardError = 0, examples }) => ({
      label: name(specialists),
      value: relativeChange,
      standardError: relativeChangeStandardError,
      title: `${name(specialists)}: ${count(examples)} examples`,
    }),
  );
  return (
    '<h2>By number of specialists covering the class</h2>' +
    signedChart(bars, 'bar', 'Relative change of top-1 correct by number of covering specialists') +
    htmlTable(
      'Top-1 correct',
      ['covered by', 'examples', 'generalist correct', 'ensemble correct', 'relative change'],
      rows,
    )
  );
}

function mapSection(
  { split }: Report,
  { classes, confusions, unlisted, specialists }: ReportDetails,
): string {
  if (confusions.length === 0) return '';
  const uncovered = classes.length - new Set(specialists.flatMap((specialist) => specialist.classes)).size;
  const last = uncovered > 0 ? ` The ${count(uncovered)} classes of no subset stand last.` : '';
  const missing = unlistedText(unlisted);
  return (
    '<h2>Map of confusions</h2><p class="note">A row is a true class, a column the class that was predicted, in the order of ' +
    `${specialists.length === 1 ? 'the subset' : `the ${count(specialists.length)} subsets`}: the shaded squares are the confusions that a specialist can see.${last} The darker a point, ` +
    `the more ${split} images. Correct predictions are left out.${missing} Drag to move; buttons, two fingers, + and −, or ` +
    'Ctrl with the wheel zoom until names and images stand beside the cells; a click on a point tells what it is.</p>' +
    `<div class="map"><div class="controls" id="map-controls">${withoutScript}</div>` +
    '<canvas id="map-canvas" tabindex="0" role="img" aria-label="Map of confusions: which class is taken for which. ' +
    'The list of confused pairs below has the same figures as text."></canvas>' +
    '<div class="map-detail" id="map-detail" role="status"></div></div>'
  );
}

function unlistedText({ generalist, ensemble }: ReportDetails['unlisted']): string {
  if (generalist + ensemble === 0) return '';
  return (
    ` The rarest are left out, too: of the generalist those of ${count(generalist)} images, of the ensemble those of ` +
    `${count(ensemble)}.`
  );
}

function pairSection({ split }: Report, { confusions, unlisted }: ReportDetails): string {
  if (confusions.length === 0) return '';
  return (
    `<h2>Confused pairs, before and after</h2><p class="note">${titled(split)} images for which one class of a pair was predicted ` +
    `in place of the other, in either direction.${unlistedText(unlisted)}</p><div id="pair-list">${withoutScript}</div>`
  );
}

function classSection({ split }: Report, { counts }: ReportDetails): string {
  const images = counts.images.filter((number) => number > 0);
  if (images.length === 0) return '';
  const [fewest, mostImages] = [Math.min(...images), Math.max(...images)];
  const each = fewest === mostImages ? count(fewest) : `${count(fewest)} to ${count(mostImages)}`;
  const without = counts.images.length - images.length;
  return (
    `<h2>Each class</h2><p class="note">${count(images.length)} classes with ${each} ${split} ${each === '1' ? 'image' : 'images'} each` +
    `${without > 0 ? `; ${count(without)} have none` : ''}. The accuracy of a single class on so few images is uncertain: ` +
    `one image more or less is ${percent(1 / median(images), 0)} of a class of ${count(median(images))}.</p>` +
    `<div id="class-list">${withoutScript}</div>`
  );
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

const mostNamedRows = 24; // of a chart; more are drawn side by side without their names

function specialistSection(report: Report, { specialists: cards, selection }: ReportDetails): string {
  if (cards.length === 0) return '';
  return (
    `<h2>Specialists</h2><p class="note">${escapeHtml(selection)}</p>${gainCharts(report)}` +
    `<div id="specialist-list">${withoutScript}</div>`
  );
}

function gainCharts({ specialists, subsets }: Report): string {
  const names = new Map(subsets.map(({ id, classes }) => [id, classes.slice(0, 3).join(' ')]));
  const sorted = specialists
    .filter(({ covered }) => covered.examples > 0)
    .sort((a, b) => b.covered.gain - a.covered.gain || a.id - b.id);
  if (sorted.length === 0) return '<p>No specialist that was kept covers an image of this split.</p>';
  const dots = sorted.map(({ id, covered }) => ({
    label: `specialist ${id}`,
    value: covered.gain,
    standardError: covered.standardError,
    title: `specialist ${id} (${names.get(id) ?? ''} …): ${signedWithin(covered.gain, covered.standardError)}, ${count(covered.examples)} images`,
  }));
  const description = 'Own gain of each specialist, with one standard error';
  return (
    '<p class="note">Own gain: the specialist’s conditional top-1 minus the generalist’s, on the images whose label it covers ' +
    '(in the chart). Ensemble’s gain: top-1 over all classes, on the images for which it was active. One standard error each.</p>' +
    (dots.length > mostNamedRows ? rankedChart(dots, description) : signedChart(dots, 'dot', description))
  );
}

function gallerySection({ seed, fixed, broken }: Gallery, { split }: Report): string {
  if (fixed.images + broken.images === 0) return '';
  const part = (title: string, { images, shown }: GalleryPart) =>
    images === 0
      ? `<h3>${title}: none</h3>`
      : `<h3>${title}: ${count(images)}${shown.length < images ? `, of which ${count(shown.length)}` : ''}</h3>` +
        `<div class="tiles">${shown.map(galleryTile).join('')}</div>`;
  return (
    `<h2>Images that the ensemble fixed, and that it broke</h2><p class="note">${titled(split)} images, drawn at random (seed ${seed}): ` +
    'nobody chose them. The true class is marked.</p>' +
    part('Wrong by the generalist, right by the ensemble', fixed) +
    part('Right by the generalist, wrong by the ensemble', broken)
  );
}

function likelihoodSection({ likelihood, split }: Report, { reliability }: ReportDetails): string {
  const rows = Object.entries({ Generalist: likelihood.generalist, Ensemble: likelihood.ensemble }).map(
    ([who, fit]) => [
      who,
      `${fit.negativeLogLikelihood.toFixed(4)} ± ${fit.standardError.toFixed(4)}`,
      percent(fit.calibrationError),
    ],
  );
  const diagrams = Object.entries({ Generalist: reliability.generalist, Ensemble: reliability.ensemble }).map(
    ([who, { asIs, fitted, temperature }]) =>
      `<div><h3>${who}</h3>` +
      reliabilityChart(
        { asIs: asIs.bins, fitted: fitted.bins },
        `Reliability of the ${who.toLowerCase()}: share of correct predictions by confidence`,
      ) +
      `<p class="note">Expected calibration error ${percent(asIs.calibrationError)} as it is, ` +
      `${percent(fitted.calibrationError)} with a fitted temperature (${temperature.toPrecision(3)}).</p></div>`,
  );
  return (
    '<h2>Probabilities</h2><p class="note">The generalist as it was trained, the ensemble with the temperatures and weights ' +
    'that validation chose.</p>' +
    htmlTable(
      `On ${split} images`,
      ['', 'negative log-likelihood, nats', 'expected calibration error'],
      rows,
    ) +
    (reliability.generalist.examples === 0
      ? ''
      : '<h3>Reliability</h3><p class="note">How often predictions are right, by how confident they are; on the grey line, as ' +
        'often as they say. Dashed: as they are. In colour: with a temperature for each of the two, fitted here to one half of ' +
        `${count(reliability.generalist.examples)} images and used on the other half, so that neither looks better only for ` +
        'having been calibrated. Larger dots are more images.</p>' +
        `<div class="side-by-side">${diagrams.join('')}</div>`)
  );
}

function rulesSection({ fusion: { trained, rules = [] } }: Report): string {
  if (rules.length === 0) return '';
  const rows = rules.map(({ rule, kept, top1, negativeLogLikelihood, calibrationError }, index) => [
    `${rule}${index === 0 ? ', in use' : ''}`,
    `${count(kept)} of ${count(trained)}`,
    percent(top1),
    negativeLogLikelihood.toFixed(4),
    percent(calibrationError),
  ]);
  return (
    '<h2>Fusion rules</h2><p class="note">Each rule with the temperatures, weights and specialists that ' +
    'validation chose for it; each half of the validation images with what was chosen on the other half. ' +
    '<i>paper</i> is the rule of Hinton, Vinyals and Dean.</p>' +
    htmlTable(
      'On validation',
      ['rule', 'specialists kept', 'top-1', 'negative log-likelihood, nats', 'expected calibration error'],
      rows,
    )
  );
}

function costSection({ inference, routing = [] }: Report): string {
  if (inference === undefined) return '';
  const { generalistFlops, ensembleFlops, generalistImagesPerSecond, ensembleImagesPerSecond } = inference;
  const rows = [
    [
      'Generalist',
      operations(generalistFlops),
      count(Math.round(generalistImagesPerSecond)),
      count(inference.generalistParameters),
    ],
    [
      'Ensemble',
      operations(ensembleFlops),
      count(Math.round(ensembleImagesPerSecond)),
      `${count(inference.generalistParameters)} + ${count(inference.specialistParameters)}`,
    ],
  ];
  const rules = routing.map((point) => [
    routingRuleText(point),
    point.active.toFixed(2),
    operations(point.flopsPerImage),
    percent(point.top1),
  ]);
  return (
    '<h2>Cost of inference</h2>' +
    `<p class="note">${inference.active.toFixed(2)} specialists an image. Images a second: both in turn, on the machine of this report.</p>` +
    htmlTable('Inference', ['', 'computation per image', 'images per second', 'parameters'], rows) +
    (rules.length === 0
      ? ''
      : '<h3>Rules of routing</h3><p class="note">Top-1 on validation over operations per image, if a ' +
        'specialist were active for the generalist’s first n classes (dots; n = 1 is the rule of Hinton, Vinyals and ' +
        'Dean) or for the mass on its subset (rings). Temperatures and weights are those fitted under the rule in use.</p>' +
        routingCurve(routing, 'Top-1 on validation by operations per image, for each routing') +
        '<details><summary>Figures</summary>' +
        htmlTable(
          'Rules of routing, on validation',
          ['a specialist is active for the generalist’s', 'specialists per image', 'computation', 'top-1'],
          rules,
        ) +
        '</details>')
  );
}

function trainingSection({ curve = [] }: Report, { specialistCurves: curves }: ReportDetails): string {
  const accuracy = trainingCurve(curve, 'Validation top-1 of the generalist by epoch');
  const losses = lossCurve(curve, 'Loss of the generalist on training and validation images by epoch');
  const specialists = specialistCurves(curves, 'Training loss of each specialist by epoch');
  if (accuracy + losses + specialists === '') return '';
  const rows = curve.map(({ epoch, loss, validationLoss, validationTop1 }) => [
    epochText(epoch),
    loss.toFixed(3),
    validationLoss?.toFixed(3) ?? '',
    validationTop1 === undefined ? '' : percent(validationTop1),
  ]);
  const block = (title: string, chart: string) =>
    chart === '' ? '' : `<div><h3>${title}</h3>${chart}</div>`;
  return (
    '<h2>Training</h2><p class="note">While the learning rate falls, as at the end of a training, a curve flattens in any ' +
    'case: a flat end does not tell whether a longer training would reach more.</p>' +
    block('Generalist: top-1 on validation', accuracy) +
    `<div class="side-by-side">${block('Generalist: loss, nats', losses)}${block('Specialists: training loss, nats', specialists)}</div>` +
    (rows.length === 0
      ? ''
      : `<details><summary>Figures</summary>${htmlTable('Epochs of the generalist', ['epoch', 'training loss', 'validation loss', 'validation top-1'], rows)}</details>`)
  );
}

function settingsSection({ stages }: Report, { provenance }: ReportDetails): string {
  if (provenance.length === 0) return '';
  const total = stages.reduce((sum, { seconds }) => sum + seconds, 0);
  const times = stages.map(({ stage, seconds, trainingSeconds, trainingFlops }) => [
    stage,
    duration(seconds),
    total > 0 ? percent(seconds / total) : '',
    trainingSeconds === undefined ? '' : duration(trainingSeconds),
    trainingFlops === undefined ? '' : operations(trainingFlops),
  ]);
  const made = provenance.map(({ stage, seed, backend, kdSpecVersion, finishedAt, digest }) => [
    stage,
    String(seed),
    backend ?? 'none',
    kdSpecVersion,
    `${finishedAt.slice(0, 16).replace('T', ' ')} UTC`,
    digest.slice(0, 16),
  ]);
  const settings = provenance.map(({ stage, parameters }) => {
    const rows = Object.entries(parameters).map(([name, value]) => [name, settingText(value)]);
    return rows.length === 0
      ? ''
      : `<details><summary>${escapeHtml(stage)}: ${count(rows.length)} settings</summary>` +
          `${htmlTable(`Settings of ${stage}`, ['option', 'value'], rows, { holds: 'texts' })}</details>`;
  });
  return (
    '<h2>Time, settings, versions</h2>' +
    htmlTable(
      'Time of each stage; training is summed over processes that work side by side',
      ['stage', 'time', 'share', 'training', 'computation'],
      [...times, ['all', duration(total), '', '', '']],
    ) +
    htmlTable(
      'What the report rests on; the hash is the beginning of the SHA-256 over the files',
      ['stage', 'seed', 'backend', 'kd-spec', 'finished', 'hash'],
      made,
    ) +
    settings.join('')
  );
}

function settingText(value: unknown): string {
  if (value === null) return 'none';
  if (Array.isArray(value)) return value.map(settingText).join(', ') || 'none';
  return String(value);
}

function titled(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
