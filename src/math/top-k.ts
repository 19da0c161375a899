/**
 * The k largest values and where they stand, largest first; equal values by lower index.
 *
 * A heap of the k best so far with the worst on top: most values are turned away by one comparison.
 *
 * @param values (n), none of them NaN
 * @param k 0 or more; with k > n all values are returned
 * @returns indices and values, each (min(k, n)); cost O(n + k log k log n) expected for values in random order
 *
 * @example
 * topK([0.1, 0.7, 0.2], 2).indices; // [1, 2]
 */
export function topK(
  values: ArrayLike<number>,
  k: number,
): { readonly indices: Int32Array; readonly values: Float32Array } {
  const count = Math.min(k, values.length);
  const heap = new Int32Array(count);
  const isWorse = (a: number, b: number) => values[a] < values[b] || (values[a] === values[b] && a > b);

  function sink(position: number, end: number): void {
    const item = heap[position];
    for (;;) {
      let child = 2 * position + 1;
      if (child >= end) break;
      if (child + 1 < end && isWorse(heap[child + 1], heap[child])) child++;
      if (!isWorse(heap[child], item)) break;
      heap[position] = heap[child];
      position = child;
    }
    heap[position] = item;
  }

  for (let index = 0; index < count; index++) heap[index] = index;
  for (let position = (count >> 1) - 1; position >= 0; position--) sink(position, count);
  if (count > 0) {
    for (let index = count; index < values.length; index++) {
      if (values[index] <= values[heap[0]]) continue; // an equal value has the higher index
      heap[0] = index;
      sink(0, count);
    }
  }
  // Heap sort: the worst goes last.
  for (let end = count - 1; end > 0; end--) {
    const worst = heap[0];
    heap[0] = heap[end];
    heap[end] = worst;
    sink(0, end);
  }
  return { indices: heap, values: Float32Array.from(heap, (index) => values[index]) };
}

/**
 * The most probable classes, as few as reach the mass, at most `maxTop`.
 *
 * @param probabilities (classes)
 * @returns indices and values, the most probable first; both views of arrays of `maxTop`
 */
export function keepMass(
  probabilities: ArrayLike<number>,
  mass: number,
  maxTop: number,
): { readonly indices: Int32Array; readonly values: Float32Array } {
  const { indices, values } = topK(probabilities, Math.min(maxTop, probabilities.length));
  let count = 0;
  let sum = 0;
  while (count < values.length && sum < mass) sum += values[count++];
  return { indices: indices.subarray(0, count), values: values.subarray(0, count) };
}
