import { assert } from '../../core/errors.js';
import type { CentroidSimilarities } from '../../math/centroid-similarities.js';
import { transposeCsr } from '../../math/csr.js';
import { createMaxHeap } from '../../math/max-heap.js';

/** How many points a cluster may hold. */
export interface SizeBounds {
  readonly minSize: number;
  readonly maxSize: number;
}

/**
 * Assigns every point to one cluster, none too small or too large, for a large sum of similarities.
 *
 * 1. Points that lose most by not getting their nearest centroid choose first (greedy by regret).
 * 2. Clusters that are too small take points without a place, then those that lose least by coming, then
 *    those that are least at home where they are.
 * 3. Points still without a place go to the smallest clusters.
 * 4. As long as it gains, a point moves to a cluster with room or changes places with another one.
 *
 * @param similarities the candidates of each point, (points, clusters); a point without any goes anywhere
 * @param bounds clusters * minSize <= points <= clusters * maxSize
 * @returns the cluster of each point, (points). No single move of a point to one of its candidates and no
 *   exchange on its behalf gains more; cost O(candidates log points) for 1 to 3, and for 4 the size of a
 *   cluster times candidates for each point that is not where it would like to be
 *
 * Source: the regret order is Vogel's for the transportation problem, of which this is one.
 */
export function balancedPartition(similarities: CentroidSimilarities, bounds: SizeBounds): Int32Array {
  const { nearest, unrelated } = similarities;
  const points = nearest.rows;
  const clusters = nearest.columns;
  const { minSize, maxSize } = bounds;
  assert(clusters * minSize <= points && points <= clusters * maxSize, 'the size bounds leave no partition');

  const placement = createPlacement(points, clusters);
  const similarity = (point: number, cluster: number) => {
    for (let k = nearest.offsets[point]; k < nearest.offsets[point + 1]; k++) {
      if (nearest.indices[k] === cluster) return nearest.values[k];
    }
    return unrelated[cluster];
  };
  chooseByRegret(similarities, placement, maxSize);
  fillSmallClusters(similarities, placement, minSize, similarity);
  placeTheRest(placement);
  improve(similarities, placement, bounds, similarity);
  return placement.clusterOf;
}

/** Who is where. */
interface Placement {
  readonly clusterOf: Int32Array; // (points), -1 for none
  readonly members: readonly number[][]; // (clusters)
  put(point: number, cluster: number): void;
}

function createPlacement(points: number, clusters: number): Placement {
  const clusterOf = new Int32Array(points).fill(-1);
  const members: number[][] = Array.from({ length: clusters }, () => []);
  const positions = new Int32Array(points);
  return {
    clusterOf,
    members,
    put(point, cluster) {
      const before = clusterOf[point];
      if (before >= 0) {
        const last = members[before].pop();
        assert(last !== undefined, 'a member of an empty cluster');
        if (last !== point) {
          members[before][positions[point]] = last;
          positions[last] = positions[point];
        }
      }
      clusterOf[point] = cluster;
      positions[point] = members[cluster].push(point) - 1;
    },
  };
}

/** Gives each point the nearest of its candidates that has room, the one with most to lose first. */
function chooseByRegret(
  { nearest, unrelated }: CentroidSimilarities,
  { clusterOf, members, put }: Placement,
  maxSize: number,
): void {
  const { rows, offsets, indices, values } = nearest;
  const worst = unrelated.reduce((least, value) => Math.min(least, value), 0);
  const hasRoom = (entry: number) => members[indices[entry]].length < maxSize;
  const next = offsets.slice(0, rows); // the first candidate of each point that may have room
  const queue = createMaxHeap();

  function enqueue(point: number): void {
    const end = offsets[point + 1];
    while (next[point] < end && !hasRoom(next[point])) next[point]++;
    if (next[point] === end) return;
    let second = next[point] + 1;
    while (second < end && !hasRoom(second)) second++;
    queue.push(point, values[next[point]] - (second < end ? values[second] : worst));
  }

  for (let point = 0; point < rows; point++) enqueue(point);
  for (let point = queue.pop(); point >= 0; point = queue.pop()) {
    if (!hasRoom(next[point])) enqueue(point);
    else if (clusterOf[point] < 0) put(point, indices[next[point]]);
  }
}

/** Brings every cluster to its least size. */
function fillSmallClusters(
  { nearest }: CentroidSimilarities,
  { clusterOf, members, put }: Placement,
  minSize: number,
  similarity: (point: number, cluster: number) => number,
): void {
  const isSmall = (cluster: number) => members[cluster].length < minSize;
  const small = [...members.keys()].filter(isSmall);
  const homeless = [...clusterOf.keys()].filter((point) => clusterOf[point] < 0).reverse();
  for (const cluster of small) {
    for (let point = -1; isSmall(cluster); put(point, cluster)) {
      point = homeless.pop() ?? -1;
      if (point < 0) break;
    }
  }
  if (!small.some(isSmall)) return;

  const canSpare = (point: number) => members[clusterOf[point]].length > minSize;
  const byCluster = transposeCsr(nearest); // (clusters, points)
  const moves: { readonly point: number; readonly from: number; readonly to: number }[] = [];
  const cheapest = createMaxHeap();
  for (const to of small.filter(isSmall)) {
    for (let k = byCluster.offsets[to]; k < byCluster.offsets[to + 1]; k++) {
      const point = byCluster.indices[k];
      if (clusterOf[point] === to || !canSpare(point)) continue;
      const gain = byCluster.values[k] - similarity(point, clusterOf[point]);
      cheapest.push(moves.push({ point, from: clusterOf[point], to }) - 1, gain);
    }
  }
  for (let move = cheapest.pop(); move >= 0; move = cheapest.pop()) {
    const { point, from, to } = moves[move];
    if (clusterOf[point] === from && canSpare(point) && isSmall(to)) put(point, to);
  }
  if (!small.some(isSmall)) return;

  const leastAtHome = createMaxHeap();
  for (let point = 0; point < clusterOf.length; point++) {
    if (canSpare(point)) leastAtHome.push(point, -similarity(point, clusterOf[point]));
  }
  for (const cluster of small) {
    while (isSmall(cluster)) {
      const point = leastAtHome.pop();
      assert(point >= 0, 'no cluster can spare a point');
      if (canSpare(point)) put(point, cluster);
    }
  }
}

/** Puts points without a place into the smallest clusters. */
function placeTheRest({ clusterOf, members, put }: Placement): void {
  const smallest = createMaxHeap();
  members.forEach((items, cluster) => {
    smallest.push(cluster, -items.length);
  });
  for (let point = 0; point < clusterOf.length; point++) {
    if (clusterOf[point] >= 0) continue;
    const cluster = smallest.pop();
    put(point, cluster);
    smallest.push(cluster, -members[cluster].length);
  }
}

/** Moves and exchanges points while that gains. */
function improve(
  { nearest }: CentroidSimilarities,
  { clusterOf, members, put }: Placement,
  { minSize, maxSize }: SizeBounds,
  similarity: (point: number, cluster: number) => number,
): void {
  const least = 1e-6; // gains below the rounding of 32 bits are none
  let hasGained = true;
  for (let pass = 0; hasGained && pass < 20; pass++) {
    hasGained = false;
    for (let point = 0; point < nearest.rows; point++) {
      for (let k = nearest.offsets[point]; k < nearest.offsets[point + 1]; k++) {
        const from = clusterOf[point];
        const to = nearest.indices[k];
        const gain = nearest.values[k] - similarity(point, from);
        if (to === from || gain <= least) break; // the candidates that follow are farther
        if (members[to].length < maxSize && members[from].length > minSize) {
          put(point, to);
        } else {
          let best = -1;
          let bestGain = least - gain;
          for (const other of members[to]) {
            const otherGain = similarity(other, from) - similarity(other, to);
            if (otherGain <= bestGain) continue;
            best = other;
            bestGain = otherGain;
          }
          if (best < 0) continue;
          put(best, from);
          put(point, to);
        }
        hasGained = true;
        break;
      }
    }
  }
}
