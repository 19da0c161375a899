import { expect, test } from 'vitest';
import { selectBackend } from '../../compute/backend.js';
import type { Tensor2D } from '../../compute/operations.js';
import { createRandom } from '../../core/random.js';
import type { HeadContext } from '../../training/heads/fit-head.js';

import { mixedLeaders } from './mixed-leaders.js';
import { candidatesOf, emptyLeaders, lead } from './rival.js';
import { scoreSet } from './scored-set.js';

const [width, classes, rows] = [4, 30, 200];
const { operations } = await selectBackend('wasm');
const random = createRandom('mixed leaders');
const normals = (length: number) => Float32Array.from({ length }, () => random.normal());
const head = { width, classes, weights: normals(width * classes), bias: normals(classes) };
const set = { features: normals(rows * width), labels: new Int32Array(rows), rows, width };
const all = Array.from({ length: classes }, (_, label) => label);

const logitsOf = (weights: Float32Array, bias: Float32Array, row: number) =>
  Float64Array.from(bias, (value, column) => {
    let sum = value;
    for (let feature = 0; feature < width; feature++)
      sum += set.features[row * width + feature] * weights[feature * bias.length + column];
    return sum;
  });

test.each([
  ['a trained head of some classes', 5, [...all.slice(0, 9), 20, 29], undefined],
  ['a trained head of all', 5, all, undefined],
  ['a trained head of all, though not all were in play', 5, all, all.slice(0, 7)],
  ['every class has images', classes, all, undefined],
  ['none has', 0, all.slice(0, 4), undefined],
])('%s: the leaders of a mix are those of all its logits', async (_, pictured, scored, played) => {
  const isPictured = Uint8Array.from(all, (label) => Number(label < pictured));
  const inPlay = Int32Array.from(played ?? scored);
  const context: HeadContext = {
    ...{ operations, head, isPictured, inPlay, train: set, validation: set },
    ...{ imagesPerEpoch: rows, epochs: 1, seed: 1, signal: new AbortController().signal },
  };
  const trained = { weights: normals(width * scored.length), bias: normals(scored.length) };
  const weights = operations.tensor(trained.weights, [width, scored.length] as const);
  const bias = operations.tensor(trained.bias, [scored.length] as const);
  const model = {
    logits: (features: Tensor2D) => operations.dense(features, weights, bias, { inputGradient: false }),
  };
  const shares = [0, 0.25, 0.5, 1];
  const candidates = candidatesOf(all, isPictured);
  const scoredSet = await scoreSet(context, set);
  const found = await mixedLeaders(context, { model, scored: Int32Array.from(scored) }, scoredSet, shares);
  for (const [index, share] of shares.entries()) {
    const slow = emptyLeaders(rows);
    for (let row = 0; row < rows; row++) {
      const mixed = logitsOf(head.weights, head.bias, row);
      const others = logitsOf(trained.weights, trained.bias, row);
      for (const [column, label] of scored.entries())
        mixed[label] = (1 - share) * mixed[label] + share * others[column];
      lead(
        slow,
        row,
        Float64Array.from(candidates.classes, (label) => mixed[label]),
        candidates,
      );
    }
    expect(found[index].inside).toEqual(slow.inside);
    expect(found[index].outside).toEqual(slow.outside);
    for (const [row, margin] of slow.margin.entries()) {
      if (Number.isFinite(margin)) expect(found[index].margin[row]).toBeCloseTo(margin, 4);
      else expect(found[index].margin[row]).toBe(margin);
    }
  }
  operations.dispose([weights, bias]);
});
