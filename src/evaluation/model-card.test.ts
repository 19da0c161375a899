import { expect, test } from 'vitest';
import { modelCard } from './model-card.js';

test('a card of one specialist reads as sentences', () => {
  const card = modelCard(
    {
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
    },
    undefined,
  );
  expect(card).toMatch(/A classifier of 3,000 classes: a generalist and 1 specialist for the classes/);
  expect(card).toMatch(/\nImages of the folder photos\.\n/);
});
