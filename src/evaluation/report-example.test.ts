import { expect, test } from 'vitest';
import { createExampleSearch, describeTrace, type ReportExample, type ShownTrace } from './report-example.js';

const names = ['a', 'b', 'c', 'd'];
const subsets = [
  { id: 7, classes: [3, 1] },
  { id: 9, classes: [0] },
];
const answers = (
  generalist: readonly number[],
  ensemble: readonly number[],
  { active = [0] }: { active?: readonly number[] } = {},
): ShownTrace => ({
  generalist: Float32Array.from(generalist),
  ensemble: Float32Array.from(ensemble),
  specialists: [0, 1].map((position) => ({
    position,
    isActive: active.includes(position),
    probabilities: Float64Array.from(position === 0 ? [0.2, 0.5, 0.3] : [0.9, 0.1]),
  })),
});
const [first, second] = [
  [0.6, 0.2, 0.1, 0.1],
  [0.1, 0.7, 0.1, 0.1],
];

async function search(offers: readonly ShownTrace[], label = 0): Promise<ReportExample | undefined> {
  const found = createExampleSearch();
  for (const [row, offer] of offers.entries()) {
    await found.offer(offer, label, async () => ({
      row,
      label: { index: 0, class: 'a' },
      image: { height: 1, width: 1, channels: 1, png: '' },
      ...describeTrace(offer, names, subsets),
    }));
  }
  return found.result();
}

test('the first image that the ensemble fixes is shown, without one the first with two different classes', async () => {
  const offers = [
    answers(first, second, { active: [] }),
    answers(first, first),
    answers(first, second), // the ensemble is wrong here
    answers(second, first),
  ];
  expect(await search(offers)).toMatchObject({ row: 3, differs: true, isFixed: true });
  expect(await search(offers, 2)).toMatchObject({ row: 2, differs: true, isFixed: false });
});

test('without different classes it is the first with a specialist, without those none', async () => {
  const silent = answers(first, second, { active: [] });
  expect(await search([silent, answers(first, first), answers(first, first)])).toMatchObject({
    row: 1,
    differs: false,
  });
  expect(await search([silent, silent])).toBeUndefined();
});

test('specialists that were only measured are not among those that were queried', () => {
  const { generalist, specialists } = describeTrace(answers(first, second), names, subsets);
  expect(generalist.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
  expect(generalist[0]).toMatchObject({ index: 0, class: 'a' });
  expect(specialists).toEqual([
    {
      id: 7,
      size: 2,
      dustbin: 0.3,
      top: [
        { index: 1, class: 'b', probability: 0.5 },
        { index: 3, class: 'd', probability: 0.2 },
      ],
    },
  ]);
});
