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
