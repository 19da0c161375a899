import { percent } from '../core/percent.js';
import { count } from '../core/quantity-text.js';
import type { RankedClass } from '../models/ranked-class.js';
import type { GalleryImage } from './gallery.js';
import { escapeHtml } from './html.js';

const shownClasses = 3; // of each prediction

/** One image with what generalist and ensemble predict for it, as bars of probability, and each specialist in a line. */
export function galleryTile({
  row,
  label,
  picture,
  generalist,
  ensemble,
  specialists,
}: GalleryImage): string {
  const name = escapeHtml(label.class);
  const own = specialists.map(({ id, size, dustbin, top }) => {
    const classes = top.slice(0, shownClasses).map((item) => {
      const text = `${escapeHtml(item.class)} ${percent(item.probability)}`;
      return item.index === label.index ? `<strong>${text}</strong>` : text;
    });
    return (
      `<p class="note">Specialist ${id}, ${count(size)} classes: ${classes.join(', ')}; ` +
      `<em>none of these ${percent(dustbin)}</em></p>`
    );
  });
  return (
    `<article class="tile drawn"><img alt="An image of ${name}" src="${escapeHtml(picture)}">` +
    `<div><p><strong>${name}</strong> <span class="note">image ${count(row)}</span></p>` +
    `<div class="pair-of-lists">${predictionList('Generalist', generalist, label.index)}` +
    `${predictionList('Ensemble', ensemble, label.index)}</div>${folded(own)}</div></article>`
  );
}

/** Two specialists are read at once; more are a list to open. */
function folded(lines: readonly string[]): string {
  if (lines.length <= 2) return lines.join('');
  return `<details><summary>What ${count(lines.length)} specialists predict</summary>${lines.join('')}</details>`;
}

function predictionList(title: string, classes: readonly RankedClass[], label: number): string {
  const items = classes
    .slice(0, shownClasses)
    .map(
      (item) =>
        `<li class="${item.index === label ? 'true' : 'other'}" style="--p:${item.probability.toFixed(4)}">` +
        `<span>${escapeHtml(item.class)}</span><span>${percent(item.probability)}</span></li>`,
    );
  return `<div><h4>${escapeHtml(title)}</h4><ol class="bars">${items.join('')}</ol></div>`;
}
