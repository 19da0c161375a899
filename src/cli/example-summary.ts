import { stripVTControlCharacters } from 'node:util';
import stringWidth from 'string-width';
import { percent } from '../core/percent.js';
import { count } from '../core/quantity-text.js';
import { decodeSmallPng } from '../data/png.js';
import type { ImageShape } from '../data/source.js';
import type { Report } from '../evaluation/report.js';
import type { ReportExample } from '../evaluation/report-example.js';
import type { RankedClass } from '../models/ranked-class.js';
import { drawImage } from './draw-image.js';
import { alignColumns, fitWidth, indent } from './summary.js';

const nameColumns = 24; // the most that a class name takes
const shownClasses = 3; // of each specialist

/**
 * One image in the terminal, its true class, and the predictions of generalist, specialists and ensemble.
 *
 * @param test how many images the ensemble fixed and broke is said from it
 */
export function exampleSummary(
  example: ReportExample,
  { split, test }: Pick<Report, 'split' | 'test'>,
  { color = false }: { readonly color?: boolean } = {},
): string {
  const { row, label, generalist, ensemble, specialists } = example;
  const prediction = (item: RankedClass | undefined) =>
    item === undefined
      ? ['', '', '']
      : [fitWidth(item.class, nameColumns), percent(item.probability), item.index === label.index ? '✓' : ''];
  const table = alignColumns(
    [
      ['', 'generalist', '', '', 'ensemble', '', ''],
      ...ensemble.map((item, rank) => [
        String(rank + 1),
        ...prediction(generalist[rank]),
        ...prediction(item),
      ]),
    ],
    'rlrllrl',
  );
  const predicted = specialists.map(({ id, size, dustbin, top }) => {
    const classes = top
      .slice(0, shownClasses)
      .map((item) => `${fitWidth(item.class, nameColumns)} ${percent(item.probability)}`);
    return `specialist ${id}, of ${size} classes: ${classes.join(', ')}; none of its classes ${percent(dustbin)}`;
  });
  return [
    `${howChosen(example, split, test)}: image ${row}, truly ${label.class}.`,
    indent(beside(picture(example.image, color), table.split('\n'))),
    predicted.join('\n'),
  ].join('\n\n');
}

function howChosen({ differs, isFixed }: ReportExample, split: string, test: Report['test']): string {
  const { fixed, broken } = test;
  if (isFixed && fixed !== undefined && broken !== undefined) {
    return (
      `Of ${count(test.examples)} ${split} images the ensemble fixes ${count(fixed)} that the generalist gets wrong, and ` +
      `breaks ${count(broken)}. The first that it fixes`
    );
  }
  if (differs) return `The first ${split} image for which generalist and ensemble predict different classes`;
  return `Generalist and ensemble never predict different classes. The first ${split} image for which a specialist was queried`;
}

function picture(image: ImageShape & { readonly png: string }, color: boolean): readonly string[] {
  const file = Buffer.from(image.png.slice(image.png.indexOf(',') + 1), 'base64');
  const pixels = decodeSmallPng(file, image);
  return pixels === undefined ? [] : drawImage(pixels, image, { color });
}

/** Two blocks of lines side by side, each as high as it needs. */
function beside(left: readonly string[], right: readonly string[]): string {
  const visible = (line: string) => stringWidth(stripVTControlCharacters(line));
  const width = Math.max(0, ...left.map(visible));
  const top = Math.max(0, Math.floor((left.length - right.length) / 2)); // the shorter block stands in the middle
  return Array.from({ length: Math.max(left.length, right.length) }, (_, row) => {
    const line = left[row] ?? '';
    return `${line}${' '.repeat(width - visible(line))}   ${right[row - top] ?? ''}`.trimEnd();
  }).join('\n');
}
