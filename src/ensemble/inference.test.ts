import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dissentingSpecialists } from '../../test/support/dissenting-specialists.js';
import { selectBackend } from '../compute/backend.js';
import { createRandom } from '../core/random.js';
import { rowOf } from '../models/classifier.js';
import { type Network, networkValues } from '../models/network.js';
import type { EnsembleFile } from './ensemble-file.js';
import { createInference, type ImageTrace, type InferenceSettings } from './inference.js';
import { fusionRule } from './rules/index.js';
import type { SpecialistNetworks } from './specialist/specialist-networks.js';

const outputs = 40;
const subsets = [
  [0, 1, 2, 3, 30, 31],
  [3, 4, 5, 6, 7, 1],
  [8, 9, 3],
];
const random = createRandom(3, 'predict');
const count = 150; // more than a chunk
const batch = { images: Float32Array.from({ length: count * 64 }, () => random.uniform()), count };
const routed = { share: 0.5, meanMass: 0.1 };
let generalist: Network;
let specialists: SpecialistNetworks;

beforeAll(async () => {
  const { operations } = await selectBackend('wasm');
  const options = { outputs, sureness: 4, dissent: -0.5, routed };
  ({ generalist, specialists } = await dissentingSpecialists(operations, subsets, random, options));
});

afterAll(() => {
  generalist.dispose();
  specialists.dispose();
});

const chosen = subsets.map((_, id) => ({ id, temperature: 0.8 + id / 4, weight: 1 + id, kept: true }));
const withoutSecond = chosen.map((one) => ({ ...one, kept: one.id !== 1 }));
const trust = (dustbinTrust: number) => ({ rule: 'combine', parameters: { dustbinTrust } });

const cases: readonly Partial<EnsembleFile>[] = [
  { rule: 'paper' },
  { rule: 'share-inside' },
  { rule: 'combine' },
  { rule: 'combine', routingTop: 1 },
  { rule: 'paper', routingTop: 1 },
  trust(0.6),
  { ...trust(0.6), generalistTemperature: 1 },
  { ...trust(1), routingMass: 0.1 },
  { rule: 'paper', routingMass: 0.001, specialists: withoutSecond },
  { rule: 'combine', routingTop: 40, routingMost: 2 },
  { ...trust(0.6), labelNoise: 0.2 },
];
const settingsOf = (settings: Partial<EnsembleFile>): InferenceSettings => ({
  routingTop: 6,
  rule: 'combine',
  generalistTemperature: 1.3,
  specialists: chosen,
  ...settings,
});

/** p^(1/T), normalised. */
function temper(probabilities: ArrayLike<number>, temperature: number): Float64Array {
  const powers = Float64Array.from(probabilities, (p) => p ** (1 / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** The exact form of the rule, on what a trace says was predicted. */
function exactly(trace: ImageTrace, settings: InferenceSettings): Float64Array {
  const active = trace.specialists
    .filter(({ isActive }) => isActive)
    .map(({ position, probabilities }) => {
      const { temperature, weight } = settings.specialists[position];
      return {
        classes: Int32Array.from(subsets[position]),
        probabilities: temper(probabilities, temperature),
        weight,
      };
    });
  const { parameters = {}, labelNoise = 0 } = settings;
  const softened = temper(trace.generalist, settings.generalistTemperature);
  const fused = fusionRule(settings.rule).create(outputs)(softened, active, { parameters });
  return fused.map((q) => (1 - labelNoise) * q + labelNoise / outputs);
}

test.each(cases)(
  'with a trace and without one the distributions are equal, and the exact ones: %o',
  async (some) => {
    const settings = settingsOf(some);
    const inference = createInference(generalist, specialists, settings);
    const before = tf.memory().numTensors;
    const out = new Float32Array(count * outputs);
    await inference.predict(batch, out);
    const traced = new Float32Array(count * outputs);
    const traces = await inference.trace(batch, traced, (image) => (image % 3 === 0 ? [0, 2] : []));
    expect(tf.memory().numTensors).toBe(before);
    expect(traced).toEqual(out);

    expect(traces).toHaveLength(count);
    for (const [image, trace] of traces.entries()) {
      const exact = exactly(trace, settings);
      expect(trace.ensemble).toEqual(rowOf(out, image, outputs));
      trace.ensemble.forEach((p, c) => {
        expect(Math.abs(p - exact[c])).toBeLessThan(3e-6);
      });
      if (image % 3 === 0) {
        const positions = trace.specialists.map(({ position }) => position);
        expect(positions).toEqual(expect.arrayContaining([0, 2]));
      }
    }
    const several = settings.routingTop === 1 ? 1 : 2;
    const busy = traces.filter(
      ({ specialists }) => specialists.filter((one) => one.isActive).length >= several,
    );
    expect(busy.length).toBeGreaterThan(count / 16);
  },
);

test('a trace says what a dustbin was corrected by, and how mass moved', async () => {
  const inference = createInference(generalist, specialists, settingsOf({ rule: 'paper' }));
  const traces = await inference.trace(batch, new Float32Array(count * outputs), () => [0, 1, 2]);
  for (const { generalist: p, ensemble: q, specialists: queried } of traces) {
    for (const { position, correction, mass } of queried) {
      const sum = (of: Float32Array) => subsets[position].reduce((total, c) => total + of[c], 0);
      expect(mass.generalist).toBeCloseTo(sum(p), 6);
      expect(mass.ensemble).toBeCloseTo(sum(q), 6);
      const ratio = 1 - routed.share + (routed.share * sum(p)) / routed.meanMass;
      expect(correction).toBeCloseTo(1 - Math.log(ratio), 5); // 1 is what the fixture's specialists have
    }
  }
});

test('of more specialists than the most, those with the most mass take part', async () => {
  const all = createInference(generalist, specialists, settingsOf({ routingTop: outputs }));
  const few = createInference(generalist, specialists, settingsOf({ routingTop: outputs, routingMost: 2 }));
  const room = () => new Float32Array(count * outputs);
  const [before, after] = [await all.trace(batch, room()), await few.trace(batch, room())];
  for (const [image, { specialists: queried }] of before.entries()) {
    expect(queried).toHaveLength(3);
    const byMass = [...queried].sort((a, b) => b.mass.generalist - a.mass.generalist);
    const expected = byMass.slice(0, 2).map(({ position }) => position);
    const found = after[image].specialists.map(({ position }) => position);
    expect(found).toEqual(expected.sort((a, b) => a - b));
  }
});

test('a network that overflows is named', async () => {
  const inference = createInference(generalist, specialists, settingsOf({ routingTop: 1 }));
  const { shape, values } = (await networkValues(generalist)).get('head.bias') ?? { shape: [], values: [] };
  const kept = Float32Array.from(values);
  const spoilt = kept.map((value, c) => (c === 5 ? Number.NaN : value));
  generalist.assign(new Map([['head.bias', { shape, values: spoilt }]]));
  await expect(inference.predict(batch, new Float32Array(count * outputs))).rejects.toMatchObject({
    code: 'fusion-input',
  });
  generalist.assign(new Map([['head.bias', { shape, values: kept }]]));
});
