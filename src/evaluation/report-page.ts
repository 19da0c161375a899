import { percent, percentWithin, signedPercent, signedWithin } from '../core/percent.js';
import { count, duration, epochText, operations } from '../core/quantity-text.js';
import { routingCurve, routingRuleText, signedChart, trainingCurve } from './charts.js';
import { escapeHtml, htmlPage, htmlTable } from './html.js';
import type { Report } from './report.js';
import { exampleSection } from './report-example-section.js';

/** How many class names of a subset are shown before the rest is only counted. */
const shownClasses = 24;

/**
 * One self-contained page that shows a report: no script, no request, light and dark.
 *
 * @param report from the evaluation
 * @returns HTML, to be written as `index.html`
 */
export function renderReportPage(report: Report): string {
  const sections = [
    headline(report),
    ...(report.example === undefined ? [] : [exampleSection(report.example, report.split)]),
    coverageSection(report),
    gainSection(report),
    likelihoodSection(report),
    rulesSection(report),
    costSection(report),
    curveSection(report),
    subsetSection(report),
    timeSection(report),
  ];
  return htmlPage('kd-spec report', sections.join('\n'));
}

function headline({ dataset, split, test, conditional, fusion, ceiling, student }: Report): string {
  const cards = [
    { name: 'Conditional top-1', ...conditional },
    { name: `${titled(split)} top-1`, ...test },
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
    htmlTable(
      'Accuracy, ± one standard error',
      ['', `${split} top-1`, `${split} top-5`, 'conditional top-1'],
      rows,
    ) +
    `<p class="note">${titled(split)}: ${count(test.examples)} examples, all classes. Conditional: ${count(conditional.pairs)} pairs ` +
    'of an example and a specialist that covers its label, predictions restricted to that specialist’s classes. ' +
    'Errors of differences are paired.</p>'
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
    '<section><h2>By number of specialists covering the class</h2>' +
    signedChart(bars, 'bar', 'Relative change of top-1 correct by number of covering specialists') +
    htmlTable(
      'Top-1 correct',
      ['covered by', 'examples', 'generalist correct', 'ensemble correct', 'relative change'],
      rows,
    ) +
    '</section>'
  );
}

function gainSection({ specialists, subsets }: Report): string {
  const names = new Map(subsets.map(({ id, classes }) => [id, classes.slice(0, 3).join(' ')]));
  const sorted = specialists
    .filter(({ covered }) => covered.examples > 0)
    .sort((a, b) => b.covered.gain - a.covered.gain || a.id - b.id);
  if (sorted.length === 0)
    return '<section><h2>Each specialist</h2><p>No specialist covers a test example.</p></section>';
  const dots = sorted.map(({ id, covered }) => ({
    label: `specialist ${id}`,
    value: covered.gain,
    standardError: covered.standardError,
    title: `specialist ${id} (${names.get(id) ?? ''} …): ${count(covered.examples)} covered examples`,
  }));
  const rows = sorted.map(({ id, size, covered, routed }) => [
    `specialist ${id}`,
    count(size),
    count(covered.examples),
    percent(covered.generalist),
    percent(covered.specialist),
    percent(covered.ensemble),
    signedWithin(covered.gain, covered.standardError),
    count(routed.examples),
    signedWithin(routed.gain, routed.standardError),
  ]);
  const header = [
    '',
    'classes',
    'covered',
    'generalist',
    'specialist',
    'ensemble',
    'own gain',
    'routed',
    'ensemble’s gain',
  ];
  return (
    '<section><h2>Each specialist</h2><p class="note">Own gain: the specialist’s conditional top-1 minus the ' +
    'generalist’s, on the examples whose label it covers. Ensemble’s gain: test top-1, on the examples where it ' +
    'was active.</p>' +
    signedChart(dots, 'dot', 'Gain of each specialist over the generalist, sorted, with standard errors') +
    `<details><summary>Figures</summary>${htmlTable('Gain of each specialist', header, rows)}</details></section>`
  );
}

function likelihoodSection({ likelihood, split }: Report): string {
  const rows = Object.entries({ Generalist: likelihood.generalist, Ensemble: likelihood.ensemble }).map(
    ([who, fit]) => [
      who,
      `${fit.negativeLogLikelihood.toFixed(4)} ± ${fit.standardError.toFixed(4)}`,
      percent(fit.calibrationError),
    ],
  );
  return (
    '<section><h2>Probabilities</h2><p class="note">The generalist as it was trained, the ensemble with the ' +
    'temperatures and weights that validation chose.</p>' +
    htmlTable(`On ${split}`, ['', 'negative log-likelihood, nats', 'expected calibration error'], rows) +
    '</section>'
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
    '<section><h2>Fusion rules</h2><p class="note">Each rule with the temperatures, weights and specialists that ' +
    'validation chose for it; each half of the validation images with what was chosen on the other half. ' +
    '<i>paper</i> is the rule of Hinton, Vinyals and Dean.</p>' +
    htmlTable(
      'On validation',
      ['rule', 'specialists kept', 'top-1', 'negative log-likelihood, nats', 'expected calibration error'],
      rows,
    ) +
    '</section>'
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
    '<section><h2>Cost of inference</h2>' +
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
        '</details>') +
    '</section>'
  );
}

function curveSection({ curve = [] }: Report): string {
  const chart = trainingCurve(curve, 'Validation top-1 of the generalist by epoch');
  if (chart === '') return '';
  const rows = curve.map(({ epoch, loss, validationLoss, validationTop1 }) => [
    epochText(epoch),
    loss.toFixed(3),
    validationLoss?.toFixed(3) ?? '',
    validationTop1 === undefined ? '' : percent(validationTop1),
  ]);
  return (
    '<section><h2>Training of the generalist</h2><p class="note">Top-1 on validation after each epoch. While the ' +
    'learning rate falls, as at the end of a training, the curve flattens in any case: a flat end does not tell whether ' +
    `a longer training would reach more.</p>${chart}<details><summary>Figures</summary>` +
    htmlTable('Epochs', ['epoch', 'training loss', 'validation loss', 'validation top-1'], rows) +
    '</details></section>'
  );
}

function subsetSection({ subsets }: Report): string {
  const items = subsets.map(({ id, classes }) => {
    const shown = classes.slice(0, shownClasses).map((name) => `<li>${escapeHtml(name)}</li>`);
    const more = classes.length - shown.length;
    return (
      `<h3>Subset ${id} <span class="note">${count(classes.length)} classes</span></h3>` +
      `<ul class="classes">${shown.join('')}${more > 0 ? `<li class="more">and ${count(more)} more</li>` : ''}</ul>`
    );
  });
  return `<section><h2>Subsets, the most typical class first</h2>${items.join('')}</section>`;
}

function timeSection({ stages }: Report): string {
  if (stages.length === 0) return '';
  const total = stages.reduce((sum, { seconds }) => sum + seconds, 0);
  const rows = stages.map(({ stage, seconds, trainingSeconds, trainingFlops }) => [
    stage,
    duration(seconds),
    total > 0 ? percent(seconds / total) : '',
    trainingSeconds === undefined ? '' : duration(trainingSeconds),
    trainingFlops === undefined ? '' : operations(trainingFlops),
  ]);
  return (
    '<section><h2>Time</h2>' +
    htmlTable(
      'Time of each stage; training is summed over processes that work side by side',
      ['stage', 'time', 'share', 'training', 'computation'],
      [...rows, ['all', duration(total), '', '', '']],
    ) +
    '</section>'
  );
}

function titled(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
