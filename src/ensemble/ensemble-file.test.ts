import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensembleFileName, readEnsembleFile } from './ensemble-file.js';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kd-spec-ensemble-file-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const specialists = [{ id: 3, temperature: 1.2, weight: 4, kept: true }];
const file = { routingTop: 1, routingMass: null, rule: 'combine', generalistTemperature: 0.8, specialists };

async function read(content: object) {
  await writeFile(join(directory, ensembleFileName), JSON.stringify(content));
  return readEnsembleFile(directory);
}

test('a file of version 0.1, whose one parameter stands beside the rule, is read', async () => {
  expect((await read({ ...file, dustbinTrust: 0.3 })).parameters).toEqual({ dustbinTrust: 0.3 });
  expect((await read({ ...file, rule: 'paper', dustbinTrust: 0 })).parameters).toBeUndefined();
});

test.each([
  ['a rule that there is not', { rule: 'mean' }, /rule/],
  ['a parameter of another rule', { rule: 'paper', parameters: { dustbinTrust: 0.3 } }, /no such parameter/],
  ['a temperature that no logit survives', { generalistTemperature: 1e-308 }, /generalistTemperature/],
  ['more noise than labels', { labelNoise: 1.5 }, /labelNoise/],
  ['a value out of its range', { parameters: { dustbinTrust: 1.5 } }, /0\.015625 to 1, got 1\.5/],
  [
    "a specialist with a parameter that is the ensemble's",
    { specialists: [{ ...specialists[0], parameters: { dustbinTrust: 0.3 } }] },
    /specialists\[0\]\.parameters/,
  ],
])('%s is refused', async (_, change, message) => {
  await expect(read({ ...file, ...change })).rejects.toMatchObject({
    code: 'checkpoint-invalid',
    message: expect.stringMatching(message),
  });
});

test('the neutral value and every value of the range are read', async () => {
  for (const dustbinTrust of [0, 1 / 64, 0.5, 1])
    expect((await read({ ...file, parameters: { dustbinTrust } })).parameters).toEqual({ dustbinTrust });
});
