import { percent } from '../core/percent.js';
import { count } from '../core/quantity-text.js';
import { escapeHtml, htmlTable } from './html.js';
import { reportStyle } from './report-style.js';

interface Accuracy {
  readonly examples: number;
  readonly errors: number;
  readonly top1: number;
}

/** What the page of a student shows. */
export interface Sweep {
  readonly objective: string;
  readonly candidates: readonly {
    readonly temperature: number;
    readonly hardWeight: number;
    readonly validation: Accuracy;
  }[];
  /** Position of the one that validation chose. */
  readonly best: number;
  /** The teacher's accuracy on validation, where it is known. */
  readonly teacher: Accuracy | undefined;
  readonly student: { readonly validation: Accuracy; readonly test: Accuracy; readonly parameters: number };
}

const [width, height] = [760, 340];
const margin = { left: 64, right: 168, top: 16, bottom: 44 };

/**
 * One self-contained page: how validation accuracy depends on the temperature, a line for each weight of the labels.
 *
 * @returns HTML without any reference to another file
 */
export function renderSweepPage(sweep: Sweep): string {
  const { candidates, best, teacher, student, objective } = sweep;
  const chosen = candidates[best];
  const isSwept = objective === 'soft-targets';
  const said = isSwept
    ? `T = ${chosen.temperature}, the labels at weight ${chosen.hardWeight}, chosen on validation`
    : `trained on ${objective}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>The student</title><style>${reportStyle}
svg .line { fill: none; stroke-width: 2; }
svg .chosen { fill: none; stroke: var(--ink); stroke-width: 1.5; }
svg .teacher { stroke: var(--soft); stroke-dasharray: 5 4; }
</style></head><body><main>
<h1>The student gets ${percent(student.test.top1)} of the test right</h1>
<p>${escapeHtml(said)}; ${count(student.parameters)} parameters.${
    teacher ? ` On validation ${percent(student.validation.top1)}, the teacher ${percent(teacher.top1)}.` : ''
  }</p>
${isSwept ? `<section><h2>Accuracy over the temperature</h2>${sweepChart(sweep)}</section>` : ''}
<section>${htmlTable(
    'Every student that was trained, on validation',
    ['temperature', 'weight of labels', 'errors', 'top-1'],
    candidates.map(({ temperature, hardWeight, validation }, index) => [
      `${temperature}${index === best ? ' (chosen)' : ''}`,
      String(hardWeight),
      `${count(validation.errors)} of ${count(validation.examples)}`,
      percent(validation.top1),
    ]),
  )}</section>
</main></body></html>
`;
}

/** Validation accuracy over the temperature, on a logarithmic axis, with one standard error. */
function sweepChart({ candidates, best, teacher }: Sweep): string {
  const errorOf = ({ top1, examples }: Accuracy) => Math.sqrt((top1 * (1 - top1)) / Math.max(1, examples));
  const temperatures = [...new Set(candidates.map(({ temperature }) => temperature))].sort((a, b) => a - b);
  const weights = [...new Set(candidates.map(({ hardWeight }) => hardWeight))].sort((a, b) => a - b);
  const values = candidates.flatMap(({ validation }) => [
    validation.top1 - errorOf(validation),
    validation.top1 + errorOf(validation),
  ]);
  if (teacher) values.push(teacher.top1);
  const step = niceStep((Math.max(...values) - Math.min(...values) || 0.01) / 4);
  const low = Math.floor(Math.min(...values) / step) * step;
  const high = Math.max(low + step, Math.ceil(Math.max(...values) / step) * step);
  const [first, last] = [temperatures[0], temperatures[temperatures.length - 1]];
  const plot = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
  const x = (temperature: number) =>
    margin.left +
    (first === last ? 0.5 : Math.log(temperature / first) / Math.log(last / first)) * plot.width;
  const y = (top1: number) => margin.top + (1 - (top1 - low) / (high - low)) * plot.height;
  const at = (value: number) => value.toFixed(1);
  const end = margin.left + plot.width;

  const digits = step < 0.001 ? 2 : step < 0.01 ? 1 : 0;
  const ticks = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, index) => low + index * step);
  const grid = ticks.map(
    (tick) =>
      `<line class="grid" x1="${margin.left}" x2="${end}" y1="${at(y(tick))}" y2="${at(y(tick))}"/>` +
      `<text class="tick" x="${margin.left - 8}" y="${at(y(tick) + 4)}" text-anchor="end">${(100 * tick).toFixed(digits)}%</text>`,
  );
  const labels = temperatures.map(
    (temperature) =>
      `<text class="tick" x="${at(x(temperature))}" y="${height - 24}" text-anchor="middle">${temperature}</text>`,
  );
  const lines = weights.map((weight, index) => {
    const points = candidates
      .filter(({ hardWeight }) => hardWeight === weight)
      .sort((a, b) => a.temperature - b.temperature);
    const colour = `hsl(${(205 + 75 * index) % 360} 55% 45%)`;
    const path = points.map(
      ({ temperature, validation }) => `${at(x(temperature))},${at(y(validation.top1))}`,
    );
    const marks = points.map(({ temperature, validation }) => {
      const [cx, error] = [at(x(temperature)), errorOf(validation)];
      const title = `T = ${temperature}, weight ${weight}: ${percent(validation.top1)}, ${validation.errors} errors`;
      return (
        `<g><title>${escapeHtml(title)}</title>` +
        `<line class="error" x1="${cx}" x2="${cx}" y1="${at(y(validation.top1 - error))}" y2="${at(y(validation.top1 + error))}"/>` +
        `<circle cx="${cx}" cy="${at(y(validation.top1))}" r="4" fill="${colour}"/></g>`
      );
    });
    const name = weights.length > 1 ? `labels × ${weight}` : 'student';
    return (
      `<polyline class="line" stroke="${colour}" points="${path.join(' ')}"/>${marks.join('')}` +
      `<text x="${end + 14}" y="${margin.top + 18 + 20 * index}" style="fill: ${colour}">${escapeHtml(name)}</text>`
    );
  });
  const { temperature, validation } = candidates[best];
  const chosen = `<circle class="chosen" cx="${at(x(temperature))}" cy="${at(y(validation.top1))}" r="8"/>`;
  const line = teacher
    ? `<line class="teacher" x1="${margin.left}" x2="${end}" y1="${at(y(teacher.top1))}" y2="${at(y(teacher.top1))}"/>` +
      `<text x="${end - 6}" y="${at(y(teacher.top1) + (teacher.top1 > high - step / 2 ? 16 : -6))}" class="tick" text-anchor="end">teacher ${percent(teacher.top1)}</text>`
    : '';
  return (
    `<div class="scroll"><svg role="img" aria-label="Validation accuracy over the temperature" viewBox="0 0 ${width} ${height}" ` +
    `width="${width}" height="${height}">${grid.join('')}${labels.join('')}` +
    `<text class="tick" x="${at(margin.left + plot.width / 2)}" y="${height - 4}" text-anchor="middle">temperature</text>` +
    `${line}${lines.join('')}${chosen}</svg></div>` +
    '<p class="note">Bars are one standard error of the validation images; the ring is the student that was kept.</p>'
  );
}

/** The round number (1, 2 or 5 times a power of ten) that is at least `least`. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= least * (1 - 1e-9)) ?? 10);
}
