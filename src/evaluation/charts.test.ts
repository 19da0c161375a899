import { parseHTML } from 'linkedom';
import { expect, test } from 'vitest';
import type { RoutingPoint } from '../ensemble/routing-curve.js';
import { routingCurve, signedChart } from './charts.js';
import { sweepChart, trainingCurve } from './curve-charts.js';

const point = (rule: 'top' | 'mass', value: number, flopsPerImage: number, top1: number): RoutingPoint => ({
  rule,
  value,
  active: value,
  flopsPerImage,
  top1,
});

/** The wide one of the two pictures of a chart. */
const drawn = (chart: string) => {
  const { document } = parseHTML(`<!doctype html><html><body>${chart}</body></html>`);
  const picture = document.querySelector('svg.chart-wide');
  const marks = (kind: string) => [...(picture?.querySelectorAll(`[aria-label=${kind}] > *`) ?? [])];
  const dots = marks('dot').map((dot) => ({
    x: Number(dot.getAttribute('cx')),
    y: Number(dot.getAttribute('cy')),
    title: dot.querySelector('title')?.textContent,
  }));
  const texts = [...(picture?.querySelectorAll('text') ?? [])].map(({ textContent }) => textContent);
  return { html: chart, marks, dots, texts };
};
const draw = (routing: readonly RoutingPoint[]) => drawn(routingCurve(routing, 'accuracy by cost'));

test('dearer rules lie further right, better ones higher, and each says what it is', () => {
  const { marks, texts, dots } = draw([
    point('top', 2, 3e6, 0.54),
    point('top', 1, 2e6, 0.5),
    point('mass', 0.2, 2.5e6, 0.57),
  ]);
  const [one, two, mass] = dots; // a line in the order of its costs
  expect(dots.map(({ title }) => title)).toEqual([
    'first class: 50.0% for 2 MFLOP',
    'first 2 classes: 54.0% for 3 MFLOP',
    'mass of 20% or more: 57.0% for 2.5 MFLOP',
  ]);
  expect(one.x).toBeLessThan(mass.x);
  expect(mass.x).toBeLessThan(two.x);
  expect(one.y).toBeGreaterThan(two.y);
  expect(two.y).toBeGreaterThan(mass.y);
  expect(marks('line')).toHaveLength(2);
  expect(texts).toContain('n = 2');
});

test('differences of a fraction of a point look like what they are', () => {
  const { dots } = draw([point('top', 1, 2e6, 0.5), point('top', 2, 3e6, 0.501)]);
  expect(Math.abs(dots[0].y - dots[1].y)).toBeLessThan(10); // of some 170 units of height
});

test('nothing is drawn of a single rule', () => {
  expect(routingCurve([point('top', 1, 2e6, 0.5)], 'one')).toBe('');
  expect(routingCurve([], 'none')).toBe('');
});

test('rules that all cost the same can be drawn', () => {
  const { html } = draw([point('top', 1, 2e6, 0.5), point('top', 2, 2e6, 0.5)]);
  expect(html).not.toMatch(/NaN|Infinity|undefined/);
});

test('a row stands at its value, in the colour of its sign, with its error around it', () => {
  const rows = [
    { label: 'better', value: 0.05, standardError: 0.01, title: 'five <points>' },
    { label: 'worse', value: -0.025, standardError: 0.02, title: 'minus two and a half' },
  ];
  const { dots, marks, texts } = drawn(signedChart(rows, 'dot', 'gains'));
  expect(dots.map(({ title }) => title)).toEqual(['five <points>', 'minus two and a half']);
  expect(marks('dot').map((dot) => dot.getAttribute('fill'))).toEqual(['var(--gain)', 'var(--loss)']);
  const [better, worse] = marks('rule').slice(-2); // the line at zero stands before them
  for (const [line, { x }, { value, standardError }] of [
    [better, dots[0], rows[0]],
    [worse, dots[1], rows[1]],
  ] as const) {
    const [from, to] = ['x1', 'x2'].map((name) => Number(line.getAttribute(name)));
    expect((from + to) / 2).toBeCloseTo(x, 6);
    const unit = (dots[0].x - dots[1].x) / (rows[0].value - rows[1].value);
    expect((to - from) / 2).toBeCloseTo(unit * standardError, 6);
    expect(Math.sign(value)).toBe(Math.sign(x - (dots[1].x + 0.025 * unit)));
  }
  expect(texts).toEqual(expect.arrayContaining(['better', '+5.0% ± 1.0', '−2.5% ± 2.0', '0%', '+4%']));
});

test('rows without any difference can be drawn', () => {
  const chart = signedChart([{ label: 'same', value: 0, standardError: 0, title: 'same' }], 'bar', 'none');
  expect(drawn(chart).texts).toContain('0.0%');
  expect(chart).not.toMatch(/NaN|Infinity|undefined/);
});

test('ticks of an axis differ in what they say', () => {
  for (const span of [0.9, 0.3, 0.07, 0.02, 0.009, 0.004, 0.0015]) {
    const rows = [{ label: 'row', value: span, standardError: 0, title: '' }];
    const { texts } = drawn(signedChart(rows, 'bar', 'span'));
    const ticks = texts.filter((text) => text !== null && /^[+−]?[\d.]+%$/.test(text));
    expect(ticks.length, String(span)).toBeGreaterThan(2);
    expect(new Set(ticks).size, ticks.join(' ')).toBe(ticks.length);
  }
});

test('the curve of a training has a dot for each epoch with validation, and whole epochs below', () => {
  const curve = Array.from({ length: 30 }, (_, index) => ({
    epoch: index + 1,
    loss: 1,
    validationTop1: 0.4 + index / 100,
  }));
  const { dots, texts } = drawn(trainingCurve(curve, 'curve'));
  expect(dots).toHaveLength(30);
  expect(dots[0].x).toBeLessThan(dots[29].x);
  expect(dots[0].y).toBeGreaterThan(dots[29].y);
  expect(texts).toEqual(expect.arrayContaining(['1', '69.0%', 'epoch', '60%']));
  expect(trainingCurve(curve.slice(0, 1), 'one epoch')).toBe('');
});

test('a sweep has a line for each weight, the same distance between doubled temperatures, and a ring', () => {
  const candidates = [1, 2, 4].flatMap((temperature) =>
    [0, 0.5].map((hardWeight) => ({
      temperature,
      hardWeight,
      validation: { examples: 100, errors: 20, top1: 0.8 - temperature / 100 },
    })),
  );
  const { html, marks, dots, texts } = drawn(
    sweepChart(candidates, { best: candidates[1], teacher: 0.9, description: 'sweep' }),
  );
  expect(marks('line')).toHaveLength(2);
  const xs = [...new Set(dots.map(({ x }) => x))].sort((a, b) => a - b);
  expect(xs).toHaveLength(3);
  expect(xs[1] - xs[0]).toBeCloseTo(xs[2] - xs[1], 6);
  expect(dots).toHaveLength(candidates.length + 1);
  expect(texts).toEqual(expect.arrayContaining(['1', '2', '4', 'temperature', 'teacher 90.0%']));
  expect(html).toContain('labels × 0.5</li>');
  const single = sweepChart(candidates.slice(0, 1), {
    best: candidates[0],
    teacher: undefined,
    description: '',
  });
  expect(single).not.toMatch(/NaN|Infinity|undefined/);
});
