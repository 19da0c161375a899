import { expect, test } from 'vitest';
import { type CardFacts, type CardReport, modelCard } from './model-card.js';

const facts: CardFacts = {
  name: 'trees',
  licence: undefined,
  description: 'Images of the folder photos',
  classes: 3000,
  specialists: 1,
  rule: 'share-inside',
  outputs: ['probabilities', 'generalist'],
  input: 'image',
  weights: 'fp32',
  preparation: [],
};

const accuracy = { top1: 0.5, top1StandardError: 0.1, top5: 0.8, top5StandardError: 0.1 };
const report = (classes?: number): CardReport => ({
  test: {
    examples: 120,
    ...(classes !== undefined && { classes }),
    generalist: accuracy,
    ensemble: accuracy,
    difference: accuracy,
  },
  split: 'test',
});

test('a card of one specialist reads as sentences', () => {
  const card = modelCard(facts, undefined);
  expect(card).toMatch(/A classifier of 3,000 classes: a generalist and 1 specialist for the classes/);
  expect(card).toMatch(/\nImages of the folder photos\.\n/);
});

test('figures name the classes whose images they rest on', () => {
  const line = (one: CardReport) => /^On 120 .*$/m.exec(modelCard(facts, one))?.[0];
  expect(line(report(3000))).toBe('On 120 images of the test split, all classes:');
  expect(line(report(8))).toBe(
    'On 120 images of the test split, of the 8 classes with images there, predicted among all 3,000:',
  );
  expect(line(report())).toBe('On 120 images of the test split:'); // a report of before does not know it
  const student = { examples: 120, classes: 8, top1: 0.25 };
  expect(modelCard({ ...facts, student }, undefined)).toMatch(
    /^On 120 images of the test split, of the 8 classes with images there, predicted among all 3,000: top-1 25\.0%/m,
  );
});

test.each([
  [{ features: 20, logits: 30 }, 'rows of 20 features followed by the 30 logits (float32)'],
  [{ features: 1, logits: 0 }, 'rows of 1 feature (float32)'],
  [{ features: 0, logits: 30 }, 'rows of the 30 logits (float32)'],
])('a model of rows is one of no images: %j', (row, text) => {
  const card = modelCard(
    { ...facts, description: 'f.npz', licence: { name: 'mit', isFromModel: false }, row, input: 'features' },
    report(8),
  );
  expect(card).toContain(`\`rows\` are ${text}.`);
  expect(card).toContain('pipeline_tag: tabular-classification');
  expect(card).toContain('On 120 rows of the test split, of the 8 classes with rows there');
  expect(card).toContain('{"features": rows})');
  expect(card).not.toMatch(/image/);
});

test('a card of an ensemble that kept no specialist says so', () => {
  const card = modelCard(
    { ...facts, specialists: 0, licence: { name: 'mit', isFromModel: false } },
    report(8),
  );
  expect(card).toMatch(/classes: a generalist alone, as an ONNX graph\. No specialist was kept: /);
  expect(card).not.toMatch(/0 specialists|fused|rule|ensemble-of-specialists|specialists were trained/);
  expect(card).toContain('the distribution of the ensemble first');
});
