import { percent, signedWithin } from '../core/percent.js';
import { count } from '../core/quantity-text.js';
import { signedChart } from './charts.js';
import type { Gallery, GalleryPart } from './gallery.js';
import { galleryTile } from './gallery-tile.js';
import { htmlTable, titled, withoutScript } from './html.js';
import type { Report } from './report.js';
import type { ReportDetails } from './report-details.js';

// Sections of the report about classes: which gain, which are confused, and the images of both.

export function coverageSection({ coverage }: Report): string {
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

export function mapSection(
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

export function pairSection({ split }: Report, { confusions, unlisted }: ReportDetails): string {
  if (confusions.length === 0) return '';
  return (
    `<h2>Confused pairs, before and after</h2><p class="note">${titled(split)} images for which one class of a pair was predicted ` +
    `in place of the other, in either direction.${unlistedText(unlisted)}</p><div id="pair-list">${withoutScript}</div>`
  );
}

export function classSection({ split }: Report, { counts }: ReportDetails): string {
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

export function gallerySection({ seed, fixed, broken }: Gallery, { split }: Report): string {
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
