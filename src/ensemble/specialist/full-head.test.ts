import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { smallNetwork } from '../../../test/support/dissenting-specialists.js';
import { scaleHead } from '../../../test/support/operations.js';
import { selectBackend } from '../../compute/backend.js';
import { createRandom } from '../../core/random.js';
import { createNetwork, type Network, networkValues } from '../../models/network.js';
import { createInference } from '../inference.js';
import {
  createFullSpecialist,
  loadSpecialist,
  outputsByClass,
  type SpecialistConfig,
  saveSpecialist,
} from './specialist.js';
import { SpecialistNetworks } from './specialist-networks.js';

const definition = smallNetwork({ dense: 6, outputs: 15 });
const classes = [4, 11, 0, 7];
const { operations } = await selectBackend('wasm');
let generalist: Network;
let folder: string;

beforeAll(async () => {
  generalist = createNetwork(operations, definition, createRandom(2, 'full head'));
  await scaleHead(generalist, 5);
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-full-head-'));
});
afterAll(async () => {
  generalist.dispose();
  await rm(folder, { recursive: true, force: true });
});

const configOf = (network: Network, correction: number): SpecialistConfig => ({
  kind: 'specialist',
  id: 0,
  classes,
  head: 'full',
  retrain: 'head',
  network: network.definition,
  dustbin: { specialExamples: 1, otherExamples: 20, sampledSpecialFraction: 0.5, correction },
  firstDivergence: 0,
});

test('the outputs of a full head are the subset in its order, then every other class once', () => {
  const outputs = outputsByClass('full', classes, 15);
  expect([...outputs].sort((a, b) => a - b)).toEqual([...Array(15).keys()]);
  expect(classes.map((label) => outputs[label])).toEqual([0, 1, 2, 3]);
  const others = [...outputs.keys()].filter((label) => !classes.includes(label));
  expect(others.map((label) => outputs[label])).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
});

test('before training it predicts what the generalist predicts, and so does one that was saved and loaded', async () => {
  const correction = 2.9;
  const network = await createFullSpecialist(generalist, classes, -correction);
  const config = configOf(network, correction);
  const made = { config, values: await networkValues(network) };
  await saveSpecialist(folder, made);
  network.dispose();
  const loaded = await loadSpecialist(folder, await networkValues(generalist), generalist.definition.outputs);
  expect(loaded.config).toEqual(config);
  const random = createRandom(4, 'images');
  const batch = { images: Float32Array.from({ length: 9 * 64 }, () => random.uniform()), count: 9 };
  const settings = {
    routingTop: 1,
    rule: 'paper',
    generalistTemperature: 1,
    specialists: [{ id: 0, temperature: 1, weight: 1, kept: true }],
  };
  const tensors = tf.memory().numTensors;
  for (const specialist of [made, loaded]) {
    const networks = new SpecialistNetworks(operations, [specialist]);
    const inference = createInference(generalist, networks, settings);
    const traces = await inference.trace(batch, new Float32Array(9 * 15), () => [0]);
    networks.dispose();
    expect(tf.memory().numTensors).toBe(tensors);
    for (const { generalist: expected, specialists } of traces) {
      const { probabilities } = specialists[0];
      expect(probabilities).toHaveLength(classes.length + 1);
      classes.forEach((label, place) => {
        expect(probabilities[place]).toBeCloseTo(expected[label], 5);
      });
    }
  }
});

test('a full head with another number of outputs than the generalist has classes is refused', async () => {
  const network = await createFullSpecialist(generalist, classes, 0);
  await saveSpecialist(folder, { config: configOf(network, 0), values: await networkValues(network) });
  network.dispose();
  const path = join(folder, 'config.json');
  await writeFile(path, (await readFile(path, 'utf8')).replace('"outputs": 15', '"outputs": 5'));
  await expect(
    loadSpecialist(folder, await networkValues(generalist), generalist.definition.outputs),
  ).rejects.toThrow(/all classes need 15 outputs, the network has 5/);
});
