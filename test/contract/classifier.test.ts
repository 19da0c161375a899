import * as tf from '@tensorflow/tfjs';
import { expect, test } from 'vitest';
import { selectBackend } from '../../src/compute/backend.js';
import { createRandom } from '../../src/core/random.js';
import { encodeSmallPng } from '../../src/data/png.js';
import { NetworkEnsemble } from '../../src/ensemble/ensemble.js';
import { createAccuracy, predictEach } from '../../src/models/accuracy.js';
import { createClassifier, lowestLogProbability } from '../../src/models/classifier.js';
import { createNetwork } from '../../src/models/network.js';
import { networkClassifier } from '../../src/models/network-classifier.js';
import { runNetwork } from '../../src/models/run-network.js';
import { classifierContract } from '../support/classifier-contract.js';
import { dissentingSpecialists, smallNetwork } from '../support/dissenting-specialists.js';

const { operations } = await selectBackend('wasm');

const outputs = 5;
const classes = Array.from({ length: outputs }, (_, c) => `class ${c}`);
const count = 131; // more than a chunk
const images = Float32Array.from({ length: count * 64 }, (_, i) => ((i * 7919) % 97) / 97);
const batch = { images, count };

const network = () =>
  createNetwork(operations, smallNetwork({ dense: 6, outputs }), createRandom(1, 'classifier'));
const ofNetwork = () => networkClassifier(network(), { name: 'the network', classes });

classifierContract('a network', () => ({ classifier: ofNetwork(), batch }));

const ofEnsemble = async () => {
  const subsets = [
    [0, 1],
    [1, 2, 3],
  ];
  const random = createRandom(2, 'ensemble');
  const options = { outputs, sureness: 2, dissent: -1 };
  const made = await dissentingSpecialists(operations, subsets, random, options);
  return new NetworkEnsemble(classes, made.generalist, made.specialists, {
    routingTop: 1,
    rule: 'combine',
    parameters: { dustbinTrust: 0.3 },
    generalistTemperature: 1.2,
    specialists: subsets.map((_, id) => ({ id, temperature: 1.1, weight: 2, kept: true })),
  });
};

classifierContract('an ensemble', async () => ({ classifier: await ofEnsemble(), batch }));

test('an ensemble refuses to trace and to classify files after dispose', async () => {
  const ensemble = await ofEnsemble();
  expect(await ensemble.trace(batch)).toHaveLength(count);
  ensemble.dispose();
  await expect(ensemble.trace(batch)).rejects.toMatchObject({ code: 'disposed' });
  const file = encodeSmallPng(new Uint8Array(64), { height: 8, width: 8, channels: 1 });
  await expect(ensemble.classify([file])).rejects.toMatchObject({ code: 'disposed' });
});

const table = Float32Array.from({ length: 4 * 3 }, (_, i) => [0.5, 0.25, 0.25, 1, 0, 0][i % 6]);
const stored = () =>
  createClassifier({
    name: 'a table',
    classes: ['a', 'b', 'c'],
    input: { kind: 'rows', rows: 4 },
    async probabilities({ rows = new Int32Array() }, out) {
      for (const [place, row] of rows.entries()) out.set(table.subarray(3 * row, 3 * row + 3), 3 * place);
    },
    dispose() {},
  });

classifierContract('stored probabilities', () => ({
  classifier: stored(),
  batch: { images: new Float32Array(), count: 3, rows: Int32Array.of(3, 0, 1) },
}));

test('a network classifies in chunks what it classifies at once, and leaves no tensor behind', async () => {
  const reference = network();
  const expected = operations.tidy(() => runNetwork(reference, operations.tensor(images, [count, 8, 8, 1])));
  const classifier = ofNetwork();
  const before = tf.memory().numTensors;
  expect(await classifier.logits(batch)).toEqual(await operations.read(expected));
  expect(tf.memory().numTensors).toBe(before);
});

test('a probability of 0 has a finite logit; a row that is not stored is named', async () => {
  const rows = { images: new Float32Array(), count: 1 };
  const logits = await stored().logits({ ...rows, rows: Int32Array.of(1) });
  expect(logits).toEqual(Float32Array.of(0, lowestLogProbability, lowestLogProbability));
  await expect(stored().logits({ ...rows, rows: Int32Array.of(4) })).rejects.toThrow(/4 rows.*got row 4/);
});

test('predictEach predicts for as many images as it is told, and stops between batches', async () => {
  async function* batches() {
    for (const rows of [Int32Array.of(0, 1), Int32Array.of(2, 3)])
      yield { images: new Float32Array(), count: 2, rows, labels: [0, 1] };
  }
  const accuracy = createAccuracy();
  const controller = new AbortController();
  const { signal } = controller;
  await predictEach(stored(), batches(), accuracy.add, { signal, maxRows: 3 });
  expect(accuracy).toMatchObject({ examples: 3, errors: 1 }); // 0 comes first in each row
  controller.abort();
  await expect(predictEach(stored(), batches(), accuracy.add, { signal })).rejects.toMatchObject({
    code: 'interrupted',
  });
  expect(accuracy.examples).toBe(3);
});

test('a label whose own score is not a number is not right', () => {
  const accuracy = createAccuracy();
  accuracy.add(1, [0, Number.NaN, 1]);
  expect(accuracy.errors).toBe(1);
});
