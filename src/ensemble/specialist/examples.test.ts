import { expect, test } from 'vitest';
import { endless, mixStreams } from './examples.js';

/** Three items a pass, named by pass and place. */
async function* pass(index: number, skip: number) {
  for (let place = skip; place < 3; place++) yield `${index}.${place}`;
}

async function take<Item>(stream: AsyncIterable<Item>, count: number): Promise<Item[]> {
  const items: Item[] = [];
  for await (const item of stream) {
    items.push(item);
    if (items.length === count) break;
  }
  return items;
}

test('skipping continues where the stream would have been', async () => {
  const whole = await take(endless(pass, 3, 0), 11);
  expect(whole.slice(0, 4)).toEqual(['0.0', '0.1', '0.2', '1.0']);
  for (let skip = 0; skip < 9; skip++) {
    expect(await take(endless(pass, 3, skip), 11 - skip)).toEqual(whole.slice(skip));
  }
});

test('every batch holds the stated number of special examples, and the streams are closed at the end', async () => {
  const closed: string[] = [];
  async function* named(name: string) {
    try {
      while (true) yield name;
    } finally {
      closed.push(name);
    }
  }
  const options = { specialPerBatch: 2, batchSize: 5, total: 12 };
  const mixed = await take(mixStreams(named('special'), named('other'), options), 100);
  expect(mixed.join(' ')).toBe(
    'special special other other other special special other other other special special',
  );
  expect(closed.sort()).toEqual(['other', 'special']);
});
