import { expect, test } from 'vitest';
import { dissentingSpecialists } from '../../test/support/dissenting-specialists.js';
import { selectBackend } from '../compute/backend.js';
import { createRandom } from '../core/random.js';
import { forwardFlops } from '../models/network-definition.js';
import { NetworkEnsemble } from './ensemble.js';
import { measureRouting } from './routing-curve.js';

const { operations } = await selectBackend('wasm');

test('a rule of routing scores what the ensemble under that rule scores, and costs what it asks', async () => {
  const random = createRandom(3, 'curve');
  const subsets = [
    [0, 1, 2, 3],
    [3, 4, 5, 6, 7],
    [8, 9],
  ];
  const outputs = 12;
  const asked = { outputs, sureness: 1, dissent: -1 };
  const { generalist, specialists } = await dissentingSpecialists(operations, subsets, random, asked);
  const count = 64;
  const pixels = Float32Array.from({ length: count * 64 }, () => Math.max(0, random.normal()) ** 6);
  const labels = Int32Array.from({ length: count }, () => random.below(outputs));
  const said = specialists.members.map(({ config }) => ({
    id: config.id,
    temperature: 1,
    weight: 3,
    kept: true,
  }));
  const settings = { rule: 'share-inside', generalistTemperature: 1, specialists: said } as const;
  async function* batches() {
    yield { images: pixels, count, labels };
  }
  const rules = [{ top: 1 }, { top: 6 }, { mass: 0.4 }];
  const curve = await measureRouting(generalist, specialists, settings, batches(), { rules });

  const names = Array.from({ length: outputs }, (_, c) => String(c));
  for (const [place, { top = 1, mass }] of rules.map((rule) => ({ mass: null, ...rule })).entries()) {
    const ensemble = new NetworkEnsemble(names, generalist, specialists, {
      ...settings,
      routingTop: top,
      routingMass: mass,
    });
    const traces = await ensemble.trace({ images: pixels, count });
    const right = traces.filter(({ ensemble: q }, image) => q.indexOf(Math.max(...q)) === labels[image]);
    expect(curve[place].top1).toBeCloseTo(right.length / count, 12);
    const active = traces.flatMap(({ specialists: queried }) => queried.filter(({ isActive }) => isActive));
    expect(curve[place].active).toBeCloseTo(active.length / count, 12);
    const flops = active.reduce(
      (sum, { position }) =>
        sum + forwardFlops(specialists.members[position].config.network, { from: 'dense' }),
      0,
    );
    expect(curve[place].flopsPerImage).toBeCloseTo(forwardFlops(generalist.definition) + flops / count, 6);
  }
  expect(curve[1].active).toBeGreaterThan(curve[0].active);
  generalist.dispose();
  specialists.dispose();
});
