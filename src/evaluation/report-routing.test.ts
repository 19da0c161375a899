import { parseHTML } from 'linkedom';
import { expect, test } from 'vitest';
import { type ReportRouting, routingCurve } from './report-routing.js';

const point = (rule: 'top' | 'mass', value: number, flopsPerImage: number, top1: number): ReportRouting => ({
  rule,
  value,
  active: value,
  flopsPerImage,
  top1,
});

const draw = (routing: readonly ReportRouting[]) => {
  const { document } = parseHTML(
    `<!doctype html><html><body>${routingCurve(routing, 'accuracy by cost')}</body></html>`,
  );
  const dots = [...document.querySelectorAll('circle')].map((dot) => ({
    x: Number(dot.getAttribute('cx')),
    y: Number(dot.getAttribute('cy')),
    title: dot.textContent,
  }));
  return { document, dots };
};

test('dearer rules lie further right, better ones higher, and each says what it is', () => {
  const { document, dots } = draw([
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
  expect(document.querySelectorAll('polyline')).toHaveLength(2);
  expect(document.body.textContent).toContain('n = 2');
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
  const { document } = draw([point('top', 1, 2e6, 0.5), point('top', 2, 2e6, 0.5)]);
  expect(document.body.innerHTML).not.toMatch(/NaN|Infinity|undefined/);
});
