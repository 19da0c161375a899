import { expect, test } from 'vitest';
import { selectBackend } from '../../compute/backend.js';
import { createRandom } from '../../core/random.js';
import { candidatesOf, emptyLeaders, lead } from './rival.js';
import { keptFirst, scoreSet } from './scored-set.js';

const [width, classes, rows] = [4, 40, 300];
const { operations } = await selectBackend('wasm');
const random = createRandom('scored');
const normals = (length: number) => Float32Array.from({ length }, () => random.normal());
const head = { width, classes, weights: normals(width * classes), bias: normals(classes) };
const set = { features: normals(rows * width), labels: new Int32Array(rows), rows, width };

/** The logits of an image in the order in which a product adds them up, to within a rounding. */
const logitsOf = (row: number) =>
  Float64Array.from(head.bias, (bias, c) => {
    let sum = bias;
    for (let feature = 0; feature < width; feature++)
      sum += set.features[row * width + feature] * head.weights[feature * classes + c];
    return sum;
  });
const firstOf = (logits: Float64Array, labels: readonly number[]) =>
  labels.reduce((best, label) => (best < 0 || logits[label] > logits[best] ? label : best), -1);

const all = Array.from({ length: classes }, (_, label) => label);

test.each([
  ['few classes with images, more in play', 5, 12],
  ['nearly all with images: the first ones tell nothing of the rest', 39, 39],
  ['all with images and in play', classes, classes],
  ['none with images', 0, 3],
])('%s: leaders and the first classes are those of a slow search', async (_, pictured, played) => {
  const isPictured = Uint8Array.from(all, (label) => Number(label < pictured));
  const inPlay = Int32Array.from(all.slice(0, played));
  const signal = new AbortController().signal;
  const scored = await scoreSet({ operations, head, isPictured, inPlay, signal }, set);
  const { leaders, outOfPlay, first } = scored.generalist;
  const slow = emptyLeaders(rows);
  const candidates = candidatesOf(all, isPictured);
  for (let row = 0; row < rows; row++) {
    const logits = logitsOf(row);
    lead(
      slow,
      row,
      Float64Array.from(candidates.classes, (label) => logits[label]),
      candidates,
    );
    expect(outOfPlay.classes[row]).toBe(firstOf(logits, all.slice(played)));
    if (played < classes) expect(outOfPlay.logits[row]).toBeCloseTo(logits[outOfPlay.classes[row]], 4);
    else expect(outOfPlay.logits[row]).toBe(Number.NEGATIVE_INFINITY);
    const sorted = [...all].sort((a, b) => logits[b] - logits[a]).slice(0, keptFirst);
    expect([...first.classes.subarray(row * keptFirst, (row + 1) * keptFirst)]).toEqual(sorted);
    expect(first.logits[row * keptFirst]).toBeCloseTo(logits[sorted[0]], 4);
    if (Number.isFinite(slow.margin[row])) expect(leaders.margin[row]).toBeCloseTo(slow.margin[row], 4);
    else expect(leaders.margin[row]).toBe(slow.margin[row]);
  }
  expect(leaders.inside).toEqual(slow.inside);
  expect(leaders.outside).toEqual(slow.outside);
});

test('with fewer classes than are kept, all of them are', async () => {
  const few = { ...head, classes: 3, weights: normals(width * 3), bias: normals(3) };
  const context = { head: few, isPictured: Uint8Array.of(1, 0, 0), inPlay: Int32Array.of(0) };
  const signal = new AbortController().signal;
  const { generalist } = await scoreSet({ ...context, operations, signal }, set);
  expect(generalist.first.count).toBe(3);
  expect(generalist.first.classes.length).toBe(3 * rows);
});
