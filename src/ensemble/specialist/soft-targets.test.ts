import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { asTf } from '../../../test/support/operations.js';
import { selectBackend } from '../../compute/backend.js';
import { assert } from '../../core/errors.js';
import { csrRow } from '../../math/csr.js';
import { softmax } from '../../math/softmax.js';
import { distillationLoss } from '../../training/distillation-loss.js';
import { dustbinCorrection, routedCorrection } from './dustbin.js';
import { collapsedTargets, fullTargets, fullTeacher } from './soft-targets.js';
import { collapseLogits, outputsByClass } from './specialist.js';

test('a specialist that predicts its soft target predicts, once corrected, what the generalist predicts', () => {
  const p = [0.1, 0.2, 0.05, 0.4, 0.25];
  const classes = [3, 1];
  const correction = dustbinCorrection({ specialExamples: 30, otherExamples: 970 });
  for (const masses of [undefined, { share: 0.6, meanMass: 0.02, masses: [] }]) {
    const maker = collapsedTargets(classes, correction, masses);
    const target = maker.target(
      Int32Array.of(4, 3, 2, 1, 0),
      Float32Array.of(p[4], p[3], p[2], p[1], p[0]),
      3,
    );
    expect(target).toHaveLength(maker.width);
    expect(target.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 6);
    const logits = Array.from(target, Math.log);
    logits[2] += correction + (masses ? routedCorrection(0.6, masses) : 0);
    [0.4, 0.2, 0.4].forEach((expected, output) => {
      expect(softmax(logits)[output]).toBeCloseTo(expected, 5);
    });
  }
});

const { operations } = await selectBackend('wasm');

const classes = 6;
const subset = [3, 1];
const inside = subset.length;
const outputOf = outputsByClass('full', subset, classes);
const isSpecial = (label: number) => subset.includes(label);

/** Four kinds of images x, how often each comes, and p(label | x): the truth, which the generalist knows. */
const frequencies = [0.4, 0.3, 0.2, 0.1];
const posteriors = [
  [0.3, 0.01, 0.2, 0.02, 0.4, 0.07],
  [0.05, 0.2, 0.3, 0.1, 0.3, 0.05],
  [0.02, 0.5, 0.02, 0.4, 0.03, 0.03],
  [0.1, 0.02, 0.1, 0.68, 0.05, 0.05],
];
const pi = frequencies.reduce((sum, f, x) => sum + f * (posteriors[x][3] + posteriors[x][1]), 0);

test.each([
  ['uniform outsiders', 0, 0],
  ['outsiders drawn by mass', 0.7, 0],
  ["a share of the generalist's whole answers", 0.7, 0.4],
])('trained on a special fraction s, then corrected, it says the truth: %s', (_, share, softShare) => {
  const s = 0.8;
  const massOf = (x: number) => posteriors[x][3] + posteriors[x][1];
  const meanMass = frequencies.reduce((sum, f, x) => sum + f * (1 - massOf(x)) * massOf(x), 0) / (1 - pi);
  const masses = share > 0 ? { share, meanMass, masses: [] } : undefined;
  const ratio = (x: number) => 1 - share + (share * massOf(x)) / meanMass;
  const correction = dustbinCorrection({
    specialExamples: 1e6 * pi,
    otherExamples: 1e6 * (1 - pi),
    sampledSpecialFraction: s,
  });
  const options = { inside, outputOf, listed: classes, correction, masses, softShare };
  const { target, width } = fullTargets(options);

  // A batch with every pair of image and label once, weighted by how often training draws it.
  const pairs = posteriors.flatMap((p, x) => p.map((mass, label) => ({ x, label, mass })));
  const rows = new Float32Array(pairs.length * width);
  const weights = pairs.map(({ x, label, mass }, row) => {
    rows.set(target(Int32Array.of(0, 1, 2, 3, 4, 5), Float32Array.from(posteriors[x]), label), row * width);
    const drawn = isSpecial(label) ? s / pi : ((1 - s) / (1 - pi)) * ratio(x);
    return frequencies[x] * mass * drawn;
  });
  expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 6);
  const teacher = { ...fullTeacher(rows, { width, inside, outputs: classes }) };
  const softWeights = Float32Array.from(weights, (weight) => weight * pairs.length);

  // One row of logits for each kind of image, trained until it moves no more.
  const logits = tf.variable(tf.zeros([frequencies.length, classes]));
  const kinds = tf.tensor2d(pairs.map(({ x }) => frequencies.map((_, kind) => Number(kind === x))));
  const optimizer = tf.train.adam(0.1);
  for (let step = 0; step < 500; step++) {
    optimizer.minimize(() =>
      asTf<tf.Scalar>(
        distillationLoss(
          operations,
          tf.matMul(kinds, logits as tf.Tensor2D) as tf.Tensor2D,
          new Int32Array(pairs.length),
          { ...teacher, softWeights },
        ),
      ),
    );
  }
  const collapsed = asTf<tf.Tensor2D>(collapseLogits(operations, logits as tf.Tensor2D, inside)).arraySync();
  posteriors.forEach((p, x) => {
    const said = collapsed[x];
    said[inside] += correction + (masses ? routedCorrection(massOf(x), masses) : 0);
    const [three, one, dustbin] = softmax(said);
    expect(three).toBeCloseTo(p[3], 2);
    expect(one).toBeCloseTo(p[1], 2);
    expect(dustbin).toBeCloseTo(1 - massOf(x), 2);
  });
  tf.dispose([logits, kinds]);
});

const prediction = fc.record({
  probabilities: fc.array(fc.double({ min: 0.001, max: 1, noNaN: true }), { minLength: 9, maxLength: 9 }),
  listed: fc.integer({ min: 1, max: 9 }),
  label: fc.nat({ max: 8 }),
  softShare: fc.constantFrom(0, 0.3),
});

test('what is read from a row: its label, or what the generalist says outside the subset', () => {
  const own = [7, 2, 5];
  const outputs = outputsByClass('full', own, 9);
  fc.assert(
    fc.property(prediction, ({ probabilities, listed, label, softShare }) => {
      const sum = probabilities.reduce((a, b) => a + b, 0);
      const p = probabilities.map((value) => value / sum);
      const order = [...p.keys()].sort((a, b) => p[b] - p[a]).slice(0, listed);
      const options = { inside: 3, outputOf: outputs, listed: 9, correction: 0, masses: undefined };
      const { target, width } = fullTargets({ ...options, softShare });
      const values = Float32Array.from(order, (c) => p[c]);
      const row = target(Int32Array.from(order), values, label);
      const teacher = fullTeacher(row, { width, inside: 3, outputs: 9 });
      assert(teacher.kind === 'probabilities', 'soft targets');
      const { probabilities: targets } = teacher;
      const read = csrRow(targets, 0);
      expect(new Set(read.indices).size).toBe(read.indices.length);
      const said = new Map([...read.indices].map((output, entry) => [output, read.values[entry]]));

      const special = own.filter((c) => order.includes(c)).reduce((mass, c) => mass + p[c], 0);
      for (let c = 0; c < 9; c++) {
        const isOwn = own.includes(c);
        const known = order.includes(c) ? p[c] : 0;
        const hard = own.includes(label) ? Number(c === label) : isOwn ? 0 : known / (1 - special);
        const expected = (1 - softShare) * hard + softShare * known; // no correction: as it is
        expect(said.get(outputs[c]) ?? 0).toBeCloseTo(expected, 5);
      }
      // What is left over may only fall on classes outside that are not listed: those inside are.
      const rest = 1 - read.values.reduce((a, b) => a + b, 0);
      if (rest > 1e-4) for (const output of [0, 1, 2]) expect(said.has(output)).toBe(true);
    }),
  );
});
