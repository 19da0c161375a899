import { escapeHtml } from './html.js';

/** A point of a line. */
export interface LinePoint {
  readonly x: number;
  readonly y: number;
  /** What a pointer over the point shows. */
  readonly title: string;
  /** Beside the point, if anything. */
  readonly label?: string;
}

export interface Line {
  readonly points: readonly LinePoint[];
  /** Drawn with gaps, its dots hollow: the second of two lines. */
  readonly dashed?: boolean;
  /** Labels below the points instead of above. */
  readonly labelsBelow?: boolean;
}

/** A value of an axis, and the text that stands there. */
export interface Tick {
  readonly at: number;
  readonly text: string;
}

interface LineChart {
  readonly lines: readonly Line[];
  readonly xTicks: readonly Tick[];
  /** From the least to the largest, which are the ends of the axis. */
  readonly yTicks: readonly Tick[];
  /** At the right end, at the height of its value. */
  readonly last?: Tick;
  /** For those who do not see the picture. */
  readonly description: string;
}

const width = 780;
const height = 220;
const margin = { left: 48, right: 60, top: 22, bottom: 26 };
const plot = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };

/** Lines through points over two axes, as inline SVG. Colours come from the page. */
export function lineChart({ lines, xTicks, yTicks, last, description }: LineChart): string {
  const xs = [
    ...lines.flatMap(({ points }) => points.map((point) => point.x)),
    ...xTicks.map(({ at }) => at),
  ];
  const ys = yTicks.map(({ at }) => at);
  const scale = (values: readonly number[]) => {
    const low = Math.min(...values);
    const span = Math.max(...values) - low || 1;
    return (value: number) => (value - low) / span;
  };
  const [alongX, alongY] = [scale(xs), scale(ys)];
  const x = (value: number) => (margin.left + alongX(value) * plot.width).toFixed(1);
  const y = (value: number) => margin.top + (1 - alongY(value)) * plot.height;
  const grid = yTicks.map(
    ({ at, text }) =>
      `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${y(at).toFixed(1)}" y2="${y(at).toFixed(1)}"/>` +
      `<text class="tick" x="${margin.left - 6}" y="${(y(at) + 4).toFixed(1)}" text-anchor="end">${text}</text>`,
  );
  const below = xTicks.map(
    ({ at, text }) => `<text class="tick" x="${x(at)}" y="${height - 8}" text-anchor="middle">${text}</text>`,
  );
  const drawn = lines.map(({ points, dashed = false, labelsBelow = false }) => {
    const path = points.map((point) => `${x(point.x)},${y(point.y).toFixed(1)}`).join(' ');
    const dots = points.map(
      (point) =>
        `<circle class="${dashed ? 'hollow' : 'gain'}" cx="${x(point.x)}" cy="${y(point.y).toFixed(1)}" r="${dashed ? 3.5 : 3}">` +
        `<title>${escapeHtml(point.title)}</title></circle>` +
        (point.label === undefined
          ? ''
          : `<text class="tick" x="${x(point.x)}" dx="${labelsBelow ? 5 : 0}" y="${(y(point.y) + (labelsBelow ? 15 : -9)).toFixed(1)}" text-anchor="${labelsBelow ? 'start' : 'middle'}">${escapeHtml(point.label)}</text>`),
    );
    return (
      `<polyline points="${path}" fill="none" stroke="currentColor" stroke-width="1.5"${dashed ? ' stroke-dasharray="5 4"' : ''}/>` +
      dots.join('')
    );
  });
  const end =
    last === undefined
      ? ''
      : `<text class="value" x="${width}" y="${(y(last.at) + 4).toFixed(1)}" text-anchor="end">${last.text}</text>`;
  return (
    `<div class="scroll"><svg role="img" aria-label="${escapeHtml(description)}" viewBox="0 0 ${width} ${height}" ` +
    `width="${width}" height="${height}">${grid.join('')}${below.join('')}${drawn.join('')}${end}</svg></div>`
  );
}
