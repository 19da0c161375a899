import type { CentroidIndex } from './centroid-index.js';
import { sharedArray } from './row-threads.js';

/**
 * What is known of a point's heights above the centroids without looking at them again.
 *
 * When centroid c moves to c', the height of a point x changes by at most |x| |c' - c| + |bias' - bias|
 * (Cauchy-Schwarz). So a point that was nearest to its centroid by more than its own and the farthest other
 * centroid have moved since is still nearest to it. Late passes of k-means, in which centroids hardly move,
 * skip most points.
 *
 * Source: Hamerly 2010 for the Euclidean distance; Schubert, Lang and Feher 2021 for the cosine. The bound here
 * is on the dot product, and so serves both.
 */
export interface AssignmentBounds {
  /** At most this is the height above the point's own centroid. */
  readonly height: Float64Array; // (points)
  /** At least this is the height above every other one. */
  readonly others: Float64Array; // (points)
  /** How far the centroids moved since; `undefined` when nothing is known yet. */
  readonly drift: CentroidDrift | undefined;
}

/** How far centroids moved. */
export interface CentroidDrift {
  readonly steps: Float64Array; // (clusters), |c' - c|
  readonly lifts: Float64Array; // (clusters), |bias' - bias|
  readonly farthest: number; // the cluster of the longest step
  readonly firstStep: number; // the longest step
  readonly secondStep: number; // the longest of the others
  readonly greatestLift: number;
}

/** Bounds of which nothing is known, in memory that threads share. */
export function createBounds(points: number): AssignmentBounds {
  return {
    height: sharedArray(Float64Array, points),
    others: sharedArray(Float64Array, points),
    drift: undefined,
  };
}

/** How far centroids moved from one index to the next: O(entries + coordinates). */
export function centroidDrift(before: CentroidIndex, after: CentroidIndex): CentroidDrift {
  const { clusters } = after;
  const steps = new Float64Array(clusters);
  const { postings: a } = before;
  const { postings: b } = after;
  for (let coordinate = 0; coordinate < b.rows; coordinate++) {
    let i = a.offsets[coordinate];
    let j = b.offsets[coordinate];
    const iEnd = a.offsets[coordinate + 1];
    const jEnd = b.offsets[coordinate + 1];
    while (i < iEnd || j < jEnd) {
      const cluster = Math.min(i < iEnd ? a.indices[i] : clusters, j < jEnd ? b.indices[j] : clusters);
      let difference = 0;
      if (j < jEnd && b.indices[j] === cluster) difference += b.values[j++];
      if (i < iEnd && a.indices[i] === cluster) difference -= a.values[i++];
      steps[cluster] += difference * difference;
    }
  }
  let farthest = 0;
  let secondStep = 0;
  for (let cluster = 0; cluster < clusters; cluster++) {
    steps[cluster] = Math.sqrt(steps[cluster]);
    if (cluster === 0) continue;
    if (steps[cluster] > steps[farthest]) {
      secondStep = steps[farthest];
      farthest = cluster;
    } else {
      secondStep = Math.max(secondStep, steps[cluster]);
    }
  }
  const lifts = after.biases.map((bias, cluster) => Math.abs(bias - before.biases[cluster]));
  const greatestLift = lifts.reduce((greatest, lift) => Math.max(greatest, lift), 0);
  return { steps, lifts, farthest, firstStep: steps[farthest], secondStep, greatestLift };
}
