/** Sums by index, for few of many possible indices. */
export interface SparseSums {
  /** Makes room for so many different indices; there are no sums. */
  begin(most: number): void;
  add(index: number, value: number): void;
  /** Writes indices and sums in the order in which they were first added, forgets them, and returns how many. */
  take(indices: Int32Array, values: Float64Array): number;
}

/**
 * A hash table of sums, no larger than what is summed, so that it stays in the cache where an array over all indices
 * would not: open addressing, at most half full, with Knuth's multiplicative hash.
 *
 * Cost: O(1) expected for each addition.
 */
export function createSparseSums(): SparseSums {
  let indexAt = new Int32Array(0).fill(-1); // (slots)
  let sums = new Float64Array(0); // (slots)
  let used = new Int32Array(0); // slots in the order of use
  let count = 0;
  let shift = 32;
  let mask = 0;
  return {
    begin(most) {
      const bits = Math.max(4, Math.ceil(Math.log2(2 * Math.max(1, most))));
      shift = 32 - bits;
      mask = 2 ** bits - 1;
      if (mask < indexAt.length) return;
      indexAt = new Int32Array(mask + 1).fill(-1);
      sums = new Float64Array(mask + 1);
      used = new Int32Array((mask + 1) / 2);
    },
    add(index, value) {
      let slot = Math.imul(index, 0x9e37_79b1) >>> shift;
      for (let found = indexAt[slot]; found !== index; found = indexAt[slot]) {
        if (found === -1) {
          indexAt[slot] = index;
          sums[slot] = value;
          used[count++] = slot;
          return;
        }
        slot = (slot + 1) & mask;
      }
      sums[slot] += value;
    },
    take(indices, values) {
      for (let k = 0; k < count; k++) {
        const slot = used[k];
        indices[k] = indexAt[slot];
        values[k] = sums[slot];
        indexAt[slot] = -1;
      }
      const taken = count;
      count = 0;
      return taken;
    },
  };
}

/**
 * Keeps the k entries of largest magnitude of a sparse vector, in place and in their order.
 *
 * Of entries as large as the k-th, those that stand first are kept.
 *
 * @param indices (at least count), the coordinates
 * @param values (at least count), none of them NaN
 * @param count how many entries the vector has
 * @param k how many to keep
 * @param scratch (at least count), overwritten
 * @returns how many entries the vector has now; cost O(count) expected
 */
export function keepLargest(
  indices: Int32Array,
  values: Float64Array,
  count: number,
  k: number,
  scratch: Float64Array,
): number {
  if (count <= k) return count;
  for (let entry = 0; entry < count; entry++) scratch[entry] = Math.abs(values[entry]);
  const threshold = kthLargest(scratch, count, k);
  let ties = k;
  for (let entry = 0; entry < count; entry++) if (Math.abs(values[entry]) > threshold) ties--;
  let kept = 0;
  for (let entry = 0; entry < count; entry++) {
    const magnitude = Math.abs(values[entry]);
    if (magnitude < threshold || (magnitude === threshold && ties-- <= 0)) continue;
    indices[kept] = indices[entry];
    values[kept++] = values[entry];
  }
  return kept;
}

/** The k-th largest of the first `count` values, k from 1: Hoare's quickselect, which reorders them. */
function kthLargest(values: Float64Array, count: number, k: number): number {
  let low = 0;
  let high = count - 1;
  const target = k - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1];
    let left = low;
    let right = high;
    while (left <= right) {
      while (values[left] > pivot) left++;
      while (values[right] < pivot) right--;
      if (left > right) break;
      const value = values[left];
      values[left++] = values[right];
      values[right--] = value;
    }
    if (target <= right) high = right;
    else if (target >= left) low = left;
    else break;
  }
  return values[target];
}
