import { percent, percentWithin, signedPercent, signedWithin } from '../core/percent.js';
import { count, duration, operations } from '../core/quantity-text.js';
import { accuracyChart } from './charts.js';
import { type TradeOff, tradeOffTable } from './harm.js';
import { escapeHtml, htmlPage, htmlTable, titled } from './html.js';
import type { Report } from './report.js';
import { classSection, coverageSection, gallerySection, mapSection, pairSection } from './report-classes.js';
import type { ReportDetails } from './report-details.js';
import {
  costSection,
  likelihoodSection,
  rulesSection,
  specialistSection,
  trainingSection,
} from './report-fit.js';
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

function headline({ dataset, split, test, original, conditional, fusion, ceiling, student }: Report): string {
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
    ...(original === undefined
      ? []
      : [['Model as it was', percentWithin(original.top1, original.top1StandardError), '', '']]),
    [
      original === undefined ? 'Generalist' : 'Generalist, its last layer refitted',
      ...top(test.generalist),
      conditionalTop1(conditional.generalist),
    ],
    ['Specialists alone', '', '', conditionalTop1(conditional.specialists)],
    ['Ensemble', ...top(test.ensemble), conditionalTop1(conditional.ensemble)],
    [
      'Ensemble − generalist',
      signedWithin(test.difference.top1, test.difference.top1StandardError),
      signedWithin(test.difference.top5, test.difference.top5StandardError),
      signedWithin(conditional.difference.top1, conditional.difference.top1StandardError),
    ],
    ...(original === undefined
      ? []
      : [
          [
            'Ensemble − model as it was',
            signedWithin(original.difference.top1, original.difference.top1StandardError),
            '',
            '',
          ],
        ]),
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
        ...(original === undefined ? [] : [{ label: 'As it was', ...top1Of(original) }]),
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
    `<p class="note">${titled(split)}: ${count(test.examples)} examples${ofClasses(test.classes, dataset.classes)}. Conditional: ${count(conditional.pairs)} pairs ` +
    'of an example and a specialist that covers its label, predictions restricted to that specialist’s classes. ' +
    `Errors of differences are paired.${ceiling === undefined ? '' : ' Ceiling: a classifier that knows how the images were made.'}</p>`
  );
}

/** Whose examples they are; nothing where the report does not know it. */
function ofClasses(withExamples: number | undefined, classes: number): string {
  if (withExamples === undefined) return '';
  if (withExamples === classes) return ', of all classes';
  return `, of the ${count(withExamples)} classes with examples, predicted among all ${count(classes)}`;
}

const top1Of = ({
  top1,
  top1StandardError,
}: Pick<Report['test']['generalist'], 'top1' | 'top1StandardError'>) => ({
  value: top1,
  standardError: top1StandardError,
});

/** What happens to the classes that nobody touched. */
function bystanderSection({ bystanders, original }: Report): string {
  if (bystanders === undefined) return '';
  const { description, examples, labelled, generalist, ensemble, agreement, harm, standardError } =
    bystanders;
  const { bound, tradeOff = [] } = bystanders;
  const accuracy = (who: typeof generalist) =>
    who === undefined ? '' : percentWithin(who.top1, who.top1StandardError);
  const rows = [
    [
      `Top-1 of the ${original === undefined ? 'generalist' : 'model as it was'}, ${count(labelled)} images with a label`,
      accuracy(generalist),
    ],
    ['Top-1 of the ensemble', accuracy(ensemble)],
    ['Predictions that stay as they were', percent(agreement)],
    ['Harm', percentWithin(harm, standardError)],
    ...(bound === undefined ? [] : [['Allowed', percent(bound)]]),
  ];
  return (
    '<h2>Harm to bystanders</h2>' +
    htmlTable('Images of what no specialist learned, ± one standard error', ['', ''], rows) +
    `<p class="note">${count(examples)} images: ${escapeHtml(description)}. Harm is the accuracy that they lose; of images ` +
    'without a label, every prediction that changes.</p>' +
    tradeOffOf(tradeOff)
  );
}

/** What another bound on the harm would bring. */
function tradeOffOf(points: TradeOff): string {
  if (points.length === 0) return '';
  const { caption, header, rows } = tradeOffTable(points);
  return (
    htmlTable(caption, header, rows) +
    '<p class="note">Each row fits the specialists to weigh bystanders less than the one above, on one half of the images, and ' +
    'judges them on the other. --harm bounds the harm on all of them, with one standard error to spare.</p>'
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
