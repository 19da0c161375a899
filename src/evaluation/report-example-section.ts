import { percent } from '../core/percent.js';
import { count } from '../core/quantity-text.js';
import type { RankedClass } from '../models/ranked-class.js';
import { escapeHtml } from './html.js';
import type { ReportExample } from './report-example.js';

/** One image with what generalist, specialists and ensemble predict for it, as bars of probability. */
export function exampleSection(
  { row, label, image, differs, generalist, ensemble, specialists }: ReportExample,
  split: string,
): string {
  const chosen = differs
    ? 'for which a specialist was active and the two predictions differ'
    : 'for which a specialist was active; the two predictions never differ';
  const name = escapeHtml(label.class);
  const predictions = [
    predictionList('Generalist', generalist, label.index),
    ...specialists.map(({ id, size, dustbin, top }) =>
      predictionList(`Specialist ${id}`, top, label.index, `${count(size)} classes`, dustbin),
    ),
    predictionList('Ensemble', ensemble, label.index),
  ];
  return (
    '<section><h2>One image, predicted by all</h2>' +
    `<p class="note">The first image of the ${split} split, in the written order, ${chosen}: image ${count(row)}. ` +
    'The true class is marked.</p>' +
    `<div class="example"><figure><img alt="An image of ${name}" src="${escapeHtml(image.png)}" ` +
    `width="${image.width}" height="${image.height}"><figcaption>truly <strong>${name}</strong></figcaption></figure>` +
    `<div class="predictions">${predictions.join('')}</div></div></section>`
  );
}

function predictionList(
  title: string,
  classes: readonly RankedClass[],
  label: number,
  note = '',
  dustbin?: number,
): string {
  const bar = (text: string, probability: number, kind: string) =>
    `<li class="${kind}" style="--p:${probability.toFixed(4)}"><span>${escapeHtml(text)}</span>` +
    `<span>${percent(probability)}</span></li>`;
  const items = classes.map((item) =>
    bar(item.class, item.probability, item.index === label ? 'true' : 'other'),
  );
  if (dustbin !== undefined) items.push(bar('none of these', dustbin, 'dustbin'));
  return (
    `<div><h3>${escapeHtml(title)}${note === '' ? '' : ` <span class="note">${escapeHtml(note)}</span>`}</h3>` +
    `<ol class="bars">${items.join('')}</ol></div>`
  );
}
