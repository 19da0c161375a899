/**
 * A stream without end, made of passes over the same items, each in its own order.
 *
 * @param pass the items of a pass (0 for the first) after the first `skip` ones
 * @param itemsPerPass how many items every pass has, at least 1
 * @param skip items of the whole stream that were consumed before
 */
export async function* endless<Item>(
  pass: (index: number, skip: number) => AsyncIterable<Item>,
  itemsPerPass: number,
  skip: number,
): AsyncGenerator<Item, never, undefined> {
  let index = Math.floor(skip / itemsPerPass);
  yield* pass(index, skip % itemsPerPass);
  while (true) yield* pass(++index, 0);
}

/**
 * Special and other examples in turn, so that every batch holds the same number of each (section 5.2: half of a
 * specialist's training examples are of its classes, half are random ones of the rest).
 *
 * @param special an endless stream of examples of the subset's classes
 * @param others an endless stream of examples of all other classes
 * @param specialPerBatch how many of a batch are special
 * @param batchSize items until the pattern repeats
 * @param total items after which the stream ends
 */
export async function* mixStreams<Item>(
  special: AsyncIterator<Item>,
  others: AsyncIterator<Item>,
  { specialPerBatch, batchSize, total }: { specialPerBatch: number; batchSize: number; total: number },
): AsyncGenerator<Item> {
  try {
    for (let position = 0; position < total; position++) {
      const source = position % batchSize < specialPerBatch ? special : others;
      const { value, done } = await source.next();
      if (done) return;
      yield value;
    }
  } finally {
    await Promise.all([special.return?.(), others.return?.()]);
  }
}
