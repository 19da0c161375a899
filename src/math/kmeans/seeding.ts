import type { Random } from '../../core/random.js';
import { selectCsrRows, transposeCsr } from '../csr.js';
import type { Points } from './centroids.js';

/**
 * Chooses points to start centroids from, far from each other: greedy k-means++.
 *
 * Each next seed is, of `2 + log(clusters)` points drawn with probability proportional to their distance
 * to the nearest seed so far, the one that lowers the sum of those distances most. A seed changes the
 * distance only of points that share a coordinate with it, found by the transpose; a point that shares none
 * is at |x|² + |seed|² (1 for the cosine distance). A point with a negative product with a seed counts as
 * sharing none, which changes its weight by less than a factor of 2.
 *
 * @param points (points, coordinates)
 * @param options.clusters how many seeds, at most as many as there are points
 * @param options.random the source of randomness
 * @param options.sample from how many points, drawn at random, the seeds are chosen
 * @returns the rows of the seeds, distinct, (clusters); cost O(clusters x (sample + log(clusters) x entries
 *   shared with a seed))
 *
 * Source: Arthur and Vassilvitskii 2007, section 2.2, and its closing remark on several candidates.
 */
export function seedCentroids(
  points: Points,
  {
    clusters,
    random,
    sample,
  }: { readonly clusters: number; readonly random: Random; readonly sample: number },
): Int32Array {
  const order = random.shuffle(Int32Array.from({ length: points.matrix.rows }, (_, row) => row));
  const rows = order.subarray(0, Math.max(clusters, Math.min(sample, order.length)));
  const matrix = selectCsrRows(points.matrix, rows); // (sample, coordinates)
  const transpose = transposeCsr(matrix); // (coordinates, sample)
  const count = rows.length;
  const squaredNorms = Float64Array.from(rows, (row) => points.squaredNorms[row]);
  const scales = Float64Array.from(rows, (row) => points.scales[row]);
  // The cosine distance is half of the squared Euclidean one.
  const factor = points.distance === 'cosine' ? 0.5 : 1;

  const closest = new Float64Array(count).fill(Number.POSITIVE_INFINITY); // distance to the nearest seed
  let leastNorm = Number.POSITIVE_INFINITY; // of the seeds, squared
  const dots = new Float64Array(count);
  const touched = new Int32Array(count);
  const isTouched = new Uint8Array(count);

  /** Products of a candidate with the points that share a coordinate with it; returns how many they are. */
  function multiply(candidate: number): number {
    let touchedCount = 0;
    for (let entry = matrix.offsets[candidate]; entry < matrix.offsets[candidate + 1]; entry++) {
      const coordinate = matrix.indices[entry];
      const value = matrix.values[entry];
      for (let k = transpose.offsets[coordinate]; k < transpose.offsets[coordinate + 1]; k++) {
        const point = transpose.indices[k];
        dots[point] += value * transpose.values[k];
        if (isTouched[point] === 1) continue;
        isTouched[point] = 1;
        touched[touchedCount++] = point;
      }
    }
    return touchedCount;
  }

  /** By how much a seed at the candidate would lower the sum of distances; with `accept` it becomes one. */
  function gain(candidate: number, accept: boolean): number {
    const norm = squaredNorms[candidate];
    let sum = 0;
    if (norm < leastNorm) {
      for (let point = 0; point < count; point++) {
        const far = squaredNorms[point] === 0 && factor !== 1 ? 0 : factor * (squaredNorms[point] + norm);
        if (far >= closest[point]) continue;
        if (closest[point] < Number.POSITIVE_INFINITY) sum += closest[point] - far;
        if (accept) closest[point] = far;
      }
      if (accept) leastNorm = norm;
    }
    const touchedCount = multiply(candidate);
    for (let k = 0; k < touchedCount; k++) {
      const point = touched[k];
      const dot = dots[point] * scales[point] * scales[candidate];
      dots[point] = 0;
      isTouched[point] = 0;
      const near = Math.max(0, factor * (squaredNorms[point] + norm - 2 * dot));
      const before = accept
        ? closest[point]
        : Math.min(closest[point], factor * (squaredNorms[point] + norm));
      if (near >= before) continue;
      sum += before - near;
      if (accept) closest[point] = near;
    }
    return sum;
  }

  const isSeed = new Uint8Array(count);
  const seeds = new Int32Array(clusters);
  const cumulative = new Float64Array(count);
  const candidates = 2 + Math.floor(Math.log(clusters));
  for (let cluster = 0; cluster < clusters; cluster++) {
    let total = 0;
    if (cluster > 0) {
      for (let point = 0; point < count; point++) cumulative[point] = total += closest[point];
    }
    let best = -1;
    if (total > 0) {
      let bestGain = Number.NEGATIVE_INFINITY;
      for (let trial = 0; trial < candidates; trial++) {
        const candidate = firstAbove(cumulative, random.uniform() * total);
        if (isSeed[candidate] === 1) continue;
        const candidateGain = gain(candidate, false);
        if (candidateGain <= bestGain) continue;
        best = candidate;
        bestGain = candidateGain;
      }
    }
    if (best < 0) best = firstFree(isSeed, squaredNorms);
    isSeed[best] = 1;
    gain(best, true);
    closest[best] = 0;
    seeds[cluster] = rows[best];
  }
  return seeds;
}

/** The first position whose value exceeds the threshold, in ascending values; the last one if none does. */
export function firstAbove(ascending: Float64Array, threshold: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] > threshold) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The first point that is no seed yet and not zero, or else the first that is no seed. */
function firstFree(isSeed: Uint8Array, squaredNorms: Float64Array): number {
  const free = isSeed.findIndex((seed, point) => seed === 0 && squaredNorms[point] > 0);
  return free >= 0 ? free : isSeed.indexOf(0);
}
