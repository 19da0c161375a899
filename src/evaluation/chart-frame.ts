import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { percent } from '../core/percent.js';
import { escapeHtml } from './html.js';

/*
 * The charts of the pages, drawn by Observable Plot as inline SVG.
 *
 * A page has no script that could fit a picture to the window, and text in a picture that is scaled down cannot be
 * read. So each chart is drawn twice, for a desktop and for a telephone, and the style sheet shows one. Colours are
 * custom properties of the page, so that one picture serves light and dark.
 */
const layouts = [
  { name: 'wide', width: 860 },
  { name: 'narrow', width: 358 },
] as const;

interface Layout {
  readonly width: number;
  readonly isNarrow: boolean;
}

/**
 * @param description for those who do not see the picture
 * @param widths of the wide picture, where it does not take the whole page
 */
export function figure(
  description: string,
  draw: (layout: Layout) => Plot.PlotOptions,
  widths: { readonly wide?: number } = {},
): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const pictures = layouts.map(({ name, width: usual }) => {
    const width = name === 'wide' ? (widths.wide ?? usual) : usual;
    const svg = Plot.plot({
      document,
      width,
      className: `chart-${name}`,
      ...draw({ width, isNarrow: name === 'narrow' }),
    });
    svg.setAttribute('role', 'img');
    svg.setAttribute('aria-label', description);
    for (const group of svg.querySelectorAll('g[aria-label]')) group.setAttribute('role', 'group');
    return String(svg.outerHTML);
  });
  return `<div class="chart">${pictures.join('')}</div>`;
}

/**
 * Percentages on an axis, with as many digits as tell its ticks apart.
 *
 * @param span of the axis, which Plot divides into about `count` steps of 1, 2 or 5 times a power of ten
 */
export function percentTicks(
  format: (fraction: number, digits: number) => string,
  span: number,
  count: number,
) {
  const step = span / count / Math.SQRT1_2; // from sqrt(1/2) of a step Plot rounds up to it
  const digits = step < 0.001 ? 2 : step < 0.01 ? 1 : 0;
  return (fraction: number) => format(fraction, digits);
}

export const spanOf = (values: readonly number[]) => Math.max(...values) - Math.min(...values);

export function legendOf(names: readonly string[]): string {
  const items = names.map(
    (name, index) => `<li style="color:${seriesColour(index)}">${escapeHtml(name)}</li>`,
  );
  return `<ul class="legend">${items.join('')}</ul>`;
}

export const seriesColour = (index: number) => `var(--series-${(index % 6) + 1})`;

export const lineFrame = (isNarrow: boolean) => ({
  height: isNarrow ? 220 : 260,
  marginLeft: 44,
  marginRight: 56,
  marginTop: 14,
  marginBottom: 40,
});

export const xAxisStyle = {
  tickSize: 0,
  fill: 'var(--soft)',
  labelArrow: 'none',
  labelAnchor: 'center',
} as const;

/** Lines across the picture at round percentages. */
export const percentAxis = (span: number, format = percent) => [
  Plot.gridY({ stroke: 'var(--line)', strokeOpacity: 1, ticks: 5 }),
  Plot.axisY({ tickSize: 0, ticks: 5, fill: 'var(--soft)', tickFormat: percentTicks(format, span, 5) }),
];

/** Whole numbers from the first to the last, at most so many. */
export function wholeTicks(first: number, last: number, most: number): readonly number[] {
  const start = Math.ceil(first);
  const step = Math.max(1, Math.ceil((last - start) / most));
  const length = Math.max(0, Math.floor((last - start) / step) + 1);
  return Array.from({ length }, (_, index) => start + index * step);
}
