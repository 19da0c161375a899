import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { selectBackend } from '../compute/backend.js';
import { createRandom } from '../core/random.js';
import { createNetwork } from '../models/network.js';
import { forwardFlops } from '../models/network-definition.js';
import { Ensemble } from './ensemble.js';
import { measureRouting } from './routing-curve.js';
import { createSpecialist, type Specialist } from './specialist/specialist.js';

beforeAll(async () => {
  await selectBackend('wasm');
});

const definition = {
  input: { height: 8, width: 8, channels: 1 },
  convolutions: [4],
  kernel: 3,
  dense: [16],
  normalisation: 'batch',
  dropout: 0,
  outputs: 12,
} as const;

test('a rule of routing scores what the ensemble under that rule scores, and costs what it asks', async () => {
  const random = createRandom(3, 'curve');
  const generalist = createNetwork(definition, random);
  const subsets = [
    [0, 1, 2, 3],
    [3, 4, 5, 6, 7],
    [8, 9],
  ];
  const specialists: Specialist[] = [];
  for (const [id, classes] of subsets.entries()) {
    const weights = Float32Array.from({ length: 16 }, () => random.normal());
    const network = await createSpecialist(generalist, classes, { weights, bias: 0 });
    // Another opinion than the generalist's.
    const head = network.variable('head.weights');
    tf.tidy(() => head.assign(tf.mul(head, -1)));
    const dustbin = { specialExamples: 1, otherExamples: 3, sampledSpecialFraction: 0.5, correction: 1 };
    const config = {
      kind: 'specialist',
      id,
      classes,
      head: 'dustbin',
      retrain: 'top',
      dustbin,
      firstDivergence: 0,
    } as const;
    specialists.push({ config: { ...config, network: network.definition }, network });
  }
  const count = 64;
  const pixels = Float32Array.from({ length: count * 64 }, () => Math.max(0, random.normal()) ** 6);
  const labels = Int32Array.from({ length: count }, () => random.below(12));
  const images = () => tf.tensor4d(pixels, [count, 8, 8, 1]);
  const said = specialists.map(({ config }) => ({ id: config.id, temperature: 1, weight: 3, kept: true }));
  const settings = { rule: 'share-inside', generalistTemperature: 1, specialists: said } as const;
  async function* batches() {
    yield { images: images(), labels };
  }
  const rules = [{ top: 1 }, { top: 6 }, { mass: 0.4 }];
  const curve = await measureRouting(generalist, specialists, settings, batches(), rules);

  const names = Array.from({ length: 12 }, (_, c) => String(c));
  for (const [place, { top = 1, mass }] of rules.map((rule) => ({ mass: null, ...rule })).entries()) {
    const ensemble = new Ensemble(names, generalist, specialists, {
      ...settings,
      routingTop: top,
      routingMass: mass,
    });
    const input = images();
    const answers = await ensemble.distributions(input);
    input.dispose();
    const right = answers.filter(({ ensemble: q }, image) => q.indexOf(Math.max(...q)) === labels[image]);
    expect(curve[place].top1).toBeCloseTo(right.length / count, 12);
    const asked = answers.map(({ specialists: asked }) => asked.filter(({ isActive }) => isActive));
    expect(curve[place].active).toBeCloseTo(asked.flat().length / count, 12);
    const flops = asked
      .flat()
      .reduce(
        (sum, { position }) =>
          sum + forwardFlops(specialists[position].network.definition, { from: 'dense' }),
        0,
      );
    expect(curve[place].flopsPerImage).toBeCloseTo(forwardFlops(definition) + flops / count, 6);
  }
  expect(curve[1].active).toBeGreaterThan(curve[0].active);
  generalist.dispose();
  for (const { network } of specialists) network.dispose();
});
