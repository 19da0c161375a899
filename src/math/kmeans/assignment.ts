import {
  createRowThreads,
  type RowKernel,
  type RowThreads,
  type RowWork,
  sharedArray,
} from '../row-threads.js';
import type { CentroidIndex, Distance, Points } from './centroids.js';

/** What {@link assignToNearest} works on. */
export interface Assignment {
  readonly points: Points; // (points, coordinates)
  /** The rows to assign. Neighbours that share coordinates make good use of the cache. */
  readonly selection: Int32Array;
  readonly index: CentroidIndex;
  /** (points), receives the cluster of each selected row; -1 for one that has no direction under the cosine. */
  readonly assignments: Int32Array;
  /** (points), receives the distance of each selected row to its centroid; 0 where there is none. */
  readonly distances: Float64Array;
  /**
   * What is known of the heights, brought up to date. Points whose bounds say that they stay are skipped, and
   * keep the distance that they had.
   */
  readonly bounds?: AssignmentBounds | undefined;
}

/**
 * Assigns points to their nearest centroids; of equally near ones to the lower number.
 *
 * @param threads who works: with more than one, `points`, `assignments`, `distances` and `bounds` are in shared
 *   memory
 * @returns how many assignments changed, and how many points were skipped, the same for any number of threads
 */
export function assignToNearest(
  assignment: Assignment,
  threads: RowThreads = createRowThreads(1),
): { readonly changed: number; readonly skipped: number } {
  const counts = sharedArray(Int32Array, 2);
  threads.run(assignKernel, { ...assignment, counts }, assignment.selection.length);
  return { changed: counts[0], skipped: counts[1] };
}

const assignKernel: RowKernel<Assignment & { readonly counts: Int32Array }> = {
  module: import.meta.url,
  name: 'createAssigner',
  create: createAssigner,
};

/** @public The work of {@link assignToNearest}, with scratch memory of its own; other threads load it by name. */
export function createAssigner({
  points: { matrix, distance, scales, squaredNorms },
  selection,
  index: { clusters, postings, biases, byBias },
  assignments,
  distances,
  bounds,
  counts,
}: Assignment & { readonly counts: Int32Array }): RowWork {
  const { offsets, indices, values } = matrix;
  const { offsets: postingOffsets, indices: postingClusters, values: postingValues } = postings;
  const dots = new Float64Array(clusters); // all 0 between points
  const isTouched = new Uint8Array(clusters); // likewise
  const touched = new Int32Array(clusters);

  /** Whether the bounds of a point, moved by as much as the centroids, still hold its cluster apart. */
  function stays(point: number): boolean {
    const own = assignments[point];
    if (bounds?.drift === undefined || own < 0) return false;
    const { height, others, drift } = bounds;
    const norm = Math.sqrt(squaredNorms[point]);
    height[point] += norm * drift.steps[own] + drift.lifts[own];
    const isFarthest = own === drift.farthest;
    others[point] -= norm * (isFarthest ? drift.secondStep : drift.firstStep) + drift.greatestLift;
    const rounding = 1e-9 * (Math.abs(height[point]) + Math.abs(others[point]));
    return others[point] - height[point] > rounding;
  }

  return (from, to) => {
    let changed = 0;
    let skipped = 0;
    for (let position = from; position < to; position++) {
      const point = selection[position];
      if (stays(point)) {
        skipped++;
        continue;
      }
      const scale = scales[point];
      const start = offsets[point];
      const end = offsets[point + 1];
      let hits = 0; // pairs of an entry of the point and a centroid that is not zero there
      for (let entry = start; entry < end; entry++) {
        const coordinate = indices[entry];
        const value = values[entry];
        const postingsEnd = postingOffsets[coordinate + 1];
        hits += postingsEnd - postingOffsets[coordinate];
        for (let posting = postingOffsets[coordinate]; posting < postingsEnd; posting++) {
          dots[postingClusters[posting]] += value * postingValues[posting];
        }
      }

      let nearest = -1;
      let least = Number.POSITIVE_INFINITY;
      let second = Number.POSITIVE_INFINITY;
      if (2 * hits > clusters) {
        // Most centroids share something with the point: look at all.
        for (let cluster = 0; cluster < clusters; cluster++) {
          const height = biases[cluster] - scale * dots[cluster];
          dots[cluster] = 0;
          if (height >= second) continue;
          if (height >= least) {
            second = height;
            continue;
          }
          second = least;
          least = height;
          nearest = cluster;
        }
      } else {
        // Few do: go through them once more, and then to the first two of the others.
        let touchedCount = 0;
        for (let entry = start; entry < end; entry++) {
          const postingsEnd = postingOffsets[indices[entry] + 1];
          for (let posting = postingOffsets[indices[entry]]; posting < postingsEnd; posting++) {
            const cluster = postingClusters[posting];
            if (isTouched[cluster] === 1) continue;
            isTouched[cluster] = 1;
            touched[touchedCount++] = cluster;
            const height = biases[cluster] - scale * dots[cluster];
            dots[cluster] = 0;
            if (height > second) continue;
            if (height > least || (height === least && cluster > nearest)) {
              second = height;
              continue;
            }
            second = least;
            least = height;
            nearest = cluster;
          }
        }
        for (let rank = 0, seen = 0; rank < clusters && seen < 2; rank++) {
          const cluster = byBias[rank];
          if (isTouched[cluster] === 1) continue;
          seen++;
          const height = biases[cluster];
          if (height > second) break;
          if (height > least || (height === least && cluster > nearest)) {
            second = height;
          } else {
            second = least;
            least = height;
            nearest = cluster;
          }
        }
        for (let k = 0; k < touchedCount; k++) isTouched[touched[k]] = 0;
      }

      const hasDirection = distance === 'euclidean' || scale > 0;
      if (!hasDirection) nearest = -1;
      if (assignments[point] !== nearest) changed++;
      assignments[point] = nearest;
      distances[point] = hasDirection ? distanceAt(least, squaredNorms[point], distance) : 0;
      if (bounds !== undefined) {
        bounds.height[point] = least;
        bounds.others[point] = second;
      }
    }
    Atomics.add(counts, 0, changed);
    Atomics.add(counts, 1, skipped);
  };
}

/** The distance of a point to a centroid at the given height. */
export function distanceAt(height: number, squaredNorm: number, distance: Distance): number {
  return Math.max(0, distance === 'cosine' ? 1 + height : squaredNorm + 2 * height);
}

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
