import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dissentingSpecialists, smallImage } from '../../test/support/dissenting-specialists.js';
import { selectBackend } from '../compute/backend.js';
import { createRandom } from '../core/random.js';
import type { Network } from '../models/network.js';
import { Ensemble } from './ensemble.js';
import type { EnsembleFile } from './ensemble-file.js';
import { predictGeneralist } from './predict.js';
import type { Specialist } from './specialist/specialist.js';

const outputs = 40;
const subsets = [
  [0, 1, 2, 3, 30, 31],
  [3, 4, 5, 6, 7, 1],
  [8, 9, 3],
];
const random = createRandom(3, 'predict');
const count = 64;
const pixels = Float32Array.from({ length: count * 64 }, () => random.uniform());
let generalist: Network;
let specialists: readonly Specialist[];

beforeAll(async () => {
  const { operations } = await selectBackend('wasm');
  const routed = { share: 0.5, meanMass: 0.1 };
  const asked = { outputs, sureness: 4, dissent: -0.5, routed };
  ({ generalist, specialists } = await dissentingSpecialists(operations, subsets, random, asked));
});

afterAll(() => {
  generalist.dispose();
  for (const { network } of specialists) network.dispose();
});

const said = subsets.map((_, id) => ({ id, temperature: 0.8 + id / 4, weight: 1 + id, kept: true }));
const names = Array.from({ length: outputs }, (_, c) => String(c));
const images = () => tf.tensor4d(pixels, [count, ...smallImage]);

const cases: readonly Partial<EnsembleFile>[] = [
  { rule: 'paper' },
  { rule: 'share-inside' },
  { rule: 'combine' },
  { rule: 'combine', routingTop: 1 },
  { rule: 'paper', routingTop: 1 },
  { rule: 'combine', dustbinTrust: 0.6 },
  { rule: 'combine', dustbinTrust: 0.6, generalistTemperature: 1 },
  { rule: 'combine', dustbinTrust: 1, routingMass: 0.2 },
  { rule: 'paper', routingMass: 0.001, specialists: said.map((one) => ({ ...one, kept: one.id !== 1 })) },
];

test.each(cases)('predict says what distributions says: %o', async (settings) => {
  const ensemble = new Ensemble(names, generalist, specialists, {
    routingTop: 6,
    rule: 'combine',
    generalistTemperature: 1.3,
    specialists: said,
    ...settings,
  });
  const input = images();
  const slow = await ensemble.distributions(input);
  const before = tf.memory().numTensors;
  const fast = await ensemble.predict(input);
  const out = new Float32Array(count * outputs + 5);
  const again = await ensemble.predict(input, { out });
  expect(tf.memory().numTensors).toBe(before);
  expect(again).toEqual(fast);
  expect(again[1]?.buffer).toBe(out.buffer);
  input.dispose();
  expect(fast.length).toBe(count);
  const several = ensemble.settings.routingTop === 1 ? 1 : 2;
  expect(slow.filter(({ specialists: asked }) => asked.length >= several).length).toBeGreaterThan(count / 8);
  for (const [image, row] of fast.entries()) {
    row.forEach((p, c) => {
      expect(Math.abs(p - slow[image].ensemble[c])).toBeLessThan(1e-6);
    });
  }
});

test('the generalist alone says what distributions says of it, and no rows where there are no images', async () => {
  const ensemble = new Ensemble(names, generalist, specialists, {
    routingTop: 1,
    rule: 'combine',
    generalistTemperature: 1,
    specialists: said,
  });
  const input = images();
  const slow = await ensemble.distributions(input);
  for (const [image, row] of (await predictGeneralist(generalist, input)).entries()) {
    row.forEach((p, c) => {
      expect(Math.abs(p - slow[image].generalist[c])).toBeLessThan(1e-6);
    });
  }
  input.dispose();
});

test('a network that overflows is named', async () => {
  const bias = generalist.variable('head.bias');
  const kept = await generalist.operations.read(bias);
  generalist.operations.assign(
    bias,
    kept.map((value, c) => (c === 5 ? Number.NaN : value)),
  );
  const ensemble = new Ensemble(names, generalist, specialists, {
    routingTop: 1,
    rule: 'combine',
    generalistTemperature: 1.3,
    specialists: said,
  });
  const input = images();
  await expect(ensemble.predict(input)).rejects.toMatchObject({ code: 'fusion-input' });
  generalist.operations.assign(bias, kept);
  input.dispose();
});
