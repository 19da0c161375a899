import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { contractBackends } from '../../../test/support/contract-backends.js';
import { smallNetwork } from '../../../test/support/dissenting-specialists.js';
import { selectBackend } from '../../compute/backend.js';
import type { Operations, Tensor } from '../../compute/operations.js';
import { createRandom } from '../../core/random.js';
import { foldedDenseLayers } from '../../models/folded-layers.js';
import { freshValues, type Network, networkFromTensors } from '../../models/network.js';
import type { NetworkPart } from '../../models/network-definition.js';
import { runNetwork } from '../../models/run-network.js';
import { collapseLogits, firstTrainedPart, type Specialist } from './specialist.js';
import { SpecialistNetworks } from './specialist-networks.js';

const classCount = 30;
const images = 9;
const random = createRandom(7, 'specialist networks');
const generalist = smallNetwork({ dense: 6, outputs: classCount });
const ofGeneralist = freshValues(generalist, random);

/** An untrained specialist; its normalisations have seen something. */
function made(
  id: number,
  size: number,
  retrain: 'head' | 'top' | 'all',
  isFull: boolean,
  dense: number,
): Specialist {
  const network = { ...generalist, dense: [dense], outputs: isFull ? classCount : size + 1 };
  const fresh = freshValues(network, random);
  for (const [name, { values }] of fresh)
    if (/mean|variance|bias/.test(name))
      for (let i = 0; i < values.length; i++) values[i] += random.uniform();
  const order = ['convolutions', 'dense', 'head'];
  const isOwn = (name: string) =>
    order.indexOf(name.split('.')[0]) >= order.indexOf(firstTrainedPart[retrain]);
  const values = new Map(
    [...fresh].map(([name, own]) => [name, isOwn(name) ? own : (ofGeneralist.get(name) ?? own)]),
  );
  const config = {
    kind: 'specialist',
    id,
    classes: Array.from({ length: size }, (_, c) => c),
    head: isFull ? 'full' : 'dustbin',
    retrain,
    network,
    dustbin: { specialExamples: 1, otherExamples: 2, sampledSpecialFraction: 0.5, correction: 0 },
    firstDivergence: 0,
  } as const;
  return { config, values };
}

/** The inputs of all parts, for images in two chunks. */
function chunksOn(operations: Operations, network: Network): Record<NetworkPart, Tensor>[] {
  const pixels = createRandom(3, 'pixels');
  return [4, images - 4].map((count) => {
    const values = Float32Array.from({ length: count * 64 }, () => pixels.uniform());
    const convolutions = operations.tensor(values, [count, 8, 8, 1]);
    const dense = runNetwork(network, convolutions, { to: 'convolutions' });
    return { convolutions, dense, head: runNetwork(network, dense, { from: 'dense', to: 'dense' }) };
  });
}

/** Each specialist by itself, over all images: (images, s + 1). */
async function alone(
  operations: Operations,
  { config, values }: Specialist,
  chunks: Record<NetworkPart, Tensor>[],
) {
  const network = networkFromTensors(operations, config.network, values);
  const from = firstTrainedPart[config.retrain];
  const all = operations.tidy(() => {
    const logits = runNetwork(network, operations.concat(chunks.map((inputs) => inputs[from])), { from });
    return config.head === 'full' ? collapseLogits(operations, logits, config.classes.length) : logits;
  });
  const rows = await operations.read(all);
  operations.dispose(all);
  network.dispose();
  return rows;
}

const specialist = fc.record({
  size: fc.integer({ min: 1, max: 20 }),
  retrain: fc.constantFrom('head', 'top', 'top', 'all'),
  isFull: fc.integer({ min: 0, max: 4 }).map((draw) => draw === 0),
  isWide: fc.boolean(),
  images: fc.subarray([...Array(images).keys()]),
});

test('each specialist predicts what it does alone, whichever are stacked and queried', async () => {
  for (const backend of await contractBackends()) {
    const { operations } = await selectBackend(backend);
    const network = networkFromTensors(operations, generalist, ofGeneralist);
    const chunks = chunksOn(operations, network);
    await fc.assert(
      fc.asyncProperty(fc.array(specialist, { minLength: 1, maxLength: 9 }), async (drawn) => {
        const specialists = drawn.map(({ size, retrain, isFull, isWide }, id) =>
          made(id, size, retrain, isFull, isWide && retrain !== 'head' ? 11 : 6),
        );
        const before = tf.memory().numTensors;
        const networks = new SpecialistNetworks(operations, specialists);
        const owned = tf.memory().numTensors;
        const logitsOf = await networks.logits(
          chunks,
          drawn.map(({ images }) => images),
        );
        expect(tf.memory().numTensors).toBe(owned);
        for (const [position, { images }] of drawn.entries()) {
          const expected = await alone(operations, specialists[position], chunks);
          const width = drawn[position].size + 1;
          for (const [place, image] of images.entries()) {
            const got = logitsOf(position, place);
            expect(got).toHaveLength(width);
            got.forEach((logit, output) => {
              expect(Math.abs(logit - expected[image * width + output])).toBeLessThan(1e-4);
            });
          }
        }
        networks.dispose();
        expect(tf.memory().numTensors).toBe(before);
      }),
      { numRuns: 15 },
    );
    network.dispose();
    operations.dispose(chunks);
  }
});

test('layers come back as they were, and the stacks are little larger than what was trained', async () => {
  const { operations } = await selectBackend('wasm');
  const specialists = [20, 3, 4, 17, 2, 19, 20].map((size, id) => made(id, size, 'top', false, 6));
  const before = tf.memory().numBytes;
  const networks = new SpecialistNetworks(operations, specialists);
  const bytes = tf.memory().numBytes - before;
  let trained = 0;
  for (const [position, { config, values }] of specialists.entries()) {
    const layers = foldedDenseLayers(config.network, values);
    expect(await networks.layersOf(position)).toEqual(layers);
    for (const { weights, bias } of layers) trained += weights.byteLength + bias.byteLength;
  }
  expect(bytes).toBeLessThan(trained / 0.75);
  networks.dispose();
  expect(tf.memory().numBytes).toBe(before);
});
