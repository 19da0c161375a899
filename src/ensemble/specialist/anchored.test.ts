import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { smallNetwork } from '../../../test/support/dissenting-specialists.js';
import { scaleHead } from '../../../test/support/operations.js';
import { selectBackend } from '../../compute/backend.js';
import { createRandom } from '../../core/random.js';
import { createNetwork, networkValues } from '../../models/network.js';
import { createInference } from '../inference.js';
import { dustbinAnchor, leastOutside } from './dustbin.js';
import { firstNetwork } from './first-network.js';
import type { Specialist } from './specialist.js';
import { SpecialistNetworks } from './specialist-networks.js';

const { operations } = await selectBackend('wasm');
const classes = [4, 11, 0, 7];
const correction = 2.9;

test.each([
  { temperature: 1, retrain: 'head', dense: null },
  { temperature: 1.7, retrain: 'top', dense: null },
  { temperature: 1, retrain: 'top', dense: [9] },
] as const)(
  'an anchored specialist starts as the generalist, whose temperature is $temperature (--retrain $retrain, $dense units)',
  async ({ temperature, retrain, dense }) => {
    const random = createRandom(2, 'anchored');
    const generalist = createNetwork(operations, smallNetwork({ dense: 6, outputs: 15 }), random);
    await scaleHead(generalist, 5);
    const sample = () => {
      throw new Error('there is no row to fit');
    };
    const first = await firstNetwork({ head: 'anchored', retrain, dense }, generalist, classes, {
      correction,
      sample,
      random,
    });
    expect(first).toMatchObject({ divergence: 0, sampled: 0 });
    const { network } = first;
    const specialist: Specialist = {
      config: {
        kind: 'specialist',
        ...{ id: 0, classes, head: 'anchored', retrain },
        network: network.definition,
        dustbin: { specialExamples: 1, otherExamples: 20, sampledSpecialFraction: 0.5, correction },
        firstDivergence: 0,
      },
      values: await networkValues(network),
    };
    network.dispose();
    const batch = { images: Float32Array.from({ length: 9 * 64 }, () => random.uniform()), count: 9 };
    const tensors = tf.memory().numTensors;
    const networks = new SpecialistNetworks(operations, [specialist]);
    const inference = createInference(generalist, networks, {
      routingTop: 1,
      rule: 'paper',
      generalistTemperature: temperature,
      specialists: [{ id: 0, temperature: 1, weight: 1, kept: true }],
    });
    const out = new Float32Array(9 * 15);
    const traces = await inference.trace(batch, out, () => [0]);
    for (const { generalist: expected, specialists } of traces) {
      const [{ probabilities, correction: added }] = specialists;
      expect(added).toBe(correction);
      classes.forEach((label, place) => {
        expect(probabilities[place]).toBeCloseTo(expected[label], 5);
      });
    }
    if (temperature === 1) {
      // Two that agree are fused into what both say; and an answer without a trace is the same.
      const plain = traces.flatMap((trace) => [...trace.generalist]);
      for (const [at, value] of out.entries()) expect(value).toBeCloseTo(plain[at], 5);
    }
    const again = new Float32Array(out.length);
    await inference.predict(batch, again);
    for (const [at, value] of again.entries()) expect(value).toBeCloseTo(out[at], 6);
    networks.dispose();
    expect(tf.memory().numTensors).toBe(tensors);
    generalist.dispose();
  },
);

test('the anchor is the log-sum-exp of the logits outside, as long as single precision tells it', () => {
  const outside = [0.3, -2, 1.1];
  const inside = [2, -0.5];
  const sum = (values: readonly number[]) => Math.log(values.reduce((s, value) => s + Math.exp(value), 0));
  const all = sum([...outside, ...inside]);
  expect(dustbinAnchor(all, Math.exp(sum(inside) - all))).toBeCloseTo(sum(outside), 12);
  expect(dustbinAnchor(all, 0)).toBeCloseTo(all, 12);
  expect(dustbinAnchor(all, 1)).toBe(all + Math.log(leastOutside));
  expect(dustbinAnchor(all, 1 + 1e-7)).toBe(dustbinAnchor(all, 1));
});
