import { percent, signedWithin } from '../core/percent.js';
import { count, epochText, operations } from '../core/quantity-text.js';
import { rankedChart, reliabilityChart, routingCurve, routingRuleText, signedChart } from './charts.js';
import { lossCurve, specialistCurves, trainingCurve } from './curve-charts.js';
import { escapeHtml, htmlTable, withoutScript } from './html.js';
import type { Report } from './report.js';
import type { ReportDetails } from './report-details.js';

// Sections of the report about the ensemble itself: its specialists, what calibration chose, what it costs, how it trained.

const mostNamedRows = 24; // of a chart; more are drawn side by side without their names

export function specialistSection(report: Report, { specialists: cards, selection }: ReportDetails): string {
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

export function likelihoodSection({ likelihood, split }: Report, { reliability }: ReportDetails): string {
  const rows = Object.entries({ Generalist: likelihood.generalist, Ensemble: likelihood.ensemble }).map(
    ([who, fit]) => [
      who,
      `${fit.negativeLogLikelihood.toFixed(4)} ± ${fit.standardError.toFixed(4)}`,
      percent(fit.calibrationError),
    ],
  );
  const diagrams = Object.entries({ Generalist: reliability.generalist, Ensemble: reliability.ensemble }).map(
    ([who, { asIs, fitted, fittedNegativeLogLikelihood, temperature, labelNoise }]) =>
      `<div><h3>${who}</h3>` +
      reliabilityChart(
        { asIs: asIs.bins, fitted: fitted.bins },
        `Reliability of the ${who.toLowerCase()}: share of correct predictions by confidence`,
      ) +
      `<p class="note">Expected calibration error ${percent(asIs.calibrationError)} as it is, ` +
      `${percent(fitted.calibrationError)} with a fitted temperature (${temperature.toPrecision(3)}) and share of label noise ` +
      `(${percent(labelNoise)}), and then a negative log-likelihood of ${fittedNegativeLogLikelihood.toFixed(4)} nats.</p></div>`,
  );
  return (
    '<h2>Probabilities</h2><p class="note">The generalist as it was trained, the ensemble with the temperatures, the weights and ' +
    'the share of label noise that validation chose.</p>' +
    htmlTable(
      `On ${split} images`,
      ['', 'negative log-likelihood, nats', 'expected calibration error'],
      rows,
    ) +
    (reliability.generalist.examples === 0
      ? ''
      : '<h3>Reliability</h3><p class="note">How often predictions are right, by how confident they are; on the grey line, as ' +
        'often as they say. Dashed: as they are. In colour: with a temperature and a share of label noise for each of the two, ' +
        'as any classifier can have, with specialists or without. They were fitted here to one half of ' +
        `${count(reliability.generalist.examples)} images and used on the other half, so that neither looks better only for ` +
        'having been calibrated. Larger dots are more images.</p>' +
        `<div class="side-by-side">${diagrams.join('')}</div>`)
  );
}

export function rulesSection({ fusion: { trained, rules = [] } }: Report): string {
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

export function costSection({ inference, routing = [] }: Report): string {
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

export function trainingSection({ curve = [] }: Report, { specialistCurves: curves }: ReportDetails): string {
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
