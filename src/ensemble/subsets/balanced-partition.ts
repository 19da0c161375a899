import { assert } from '../../core/errors.js';
import { transposeCsr } from '../../math/csr.js';
import type { CentroidSimilarities } from '../../math/kmeans/similarities.js';
import { createMaxHeap } from '../../math/max-heap.js';
import type { SizeBounds } from './bounds.js';
import { createPlacement, heaviest, type Placement, packMasses } from './bounds.js';

/** How much a cluster may hold where points weigh differently. */
export interface MassBound {
  /** Of each point, (points), 0 or more. */
  readonly masses: Float64Array;
  /** The most that the points of a cluster may weigh together. */
  readonly maxMass: number;
}

/**
 * Assigns every point to one cluster, none too small, too large or too heavy, for a large sum of similarities.
 *
 * 1. Points that lose most by not getting their nearest centroid choose first (greedy by regret).
 * 2. Clusters that are too small take points without a place, then those that lose least by coming, then
 *    those that are least at home where they are.
 * 3. Points still without a place go to the smallest clusters; where points have masses, to the lightest, the heaviest
 *    point first. Should one not fit there, all is begun again from {@link packMasses}.
 * 4. As long as it gains, a point moves to a cluster with room or changes places with another one.
 *
 * @param similarities the candidates of each point, (points, clusters); a point without any goes anywhere
 * @param bounds clusters * minSize <= points <= clusters * maxSize
 * @param bound of the clusters' masses; none by default. It is raised to the heaviest cluster of {@link packMasses},
 *   which shows that so much can be kept to: to know the least that can is NP-hard
 * @returns the cluster of each point, (points). No single move of a point to one of its candidates and no
 *   exchange on its behalf gains more; cost O(candidates log points) for 1 to 3, and for 4 the size of a
 *   cluster times candidates for each point that is not where it would like to be
 *
 * Source: the regret order is Vogel's for the transportation problem, of which this is one.
 */
export function balancedPartition(
  similarities: CentroidSimilarities,
  bounds: SizeBounds,
  bound?: MassBound,
): Int32Array {
  const { nearest, unrelated } = similarities;
  const points = nearest.rows;
  const clusters = nearest.columns;
  const { minSize, maxSize } = bounds;
  assert(clusters * minSize <= points && points <= clusters * maxSize, 'the size bounds leave no partition');

  const packed = bound && packMasses(bound.masses, clusters, bounds);
  const room = {
    maxSize,
    masses: bound?.masses ?? new Float64Array(points),
    maxMass:
      bound && packed
        ? Math.max(bound.maxMass, heaviest(bound.masses, packed, clusters))
        : Number.POSITIVE_INFINITY,
  };
  let placement = createPlacement(points, clusters, room);
  const similarity = (point: number, cluster: number) => {
    for (let k = nearest.offsets[point]; k < nearest.offsets[point + 1]; k++) {
      if (nearest.indices[k] === cluster) return nearest.values[k];
    }
    return unrelated[cluster];
  };
  chooseByRegret(similarities, placement);
  const isWhole =
    fillSmallClusters(similarities, placement, minSize, similarity) && placeTheRest(placement, bound?.masses);
  if (!isWhole) {
    assert(packed !== undefined, 'no cluster can spare a point');
    placement = createPlacement(points, clusters, room);
    for (const [point, cluster] of packed.entries()) placement.put(point, cluster);
  }
  improve(similarities, placement, bounds, similarity);
  return placement.clusterOf;
}

/** Gives each point the nearest of its candidates that has room, the one with most to lose first. */
function chooseByRegret(
  { nearest, unrelated }: CentroidSimilarities,
  { clusterOf, fits, put }: Placement,
): void {
  const { rows, offsets, indices, values } = nearest;
  const worst = unrelated.reduce((least, value) => Math.min(least, value), 0);
  const hasRoom = (point: number, entry: number) => fits(point, indices[entry]); // once it has none it stays so
  const next = offsets.slice(0, rows); // the first candidate of each point that may have room
  const queue = createMaxHeap();

  function enqueue(point: number): void {
    const end = offsets[point + 1];
    while (next[point] < end && !hasRoom(point, next[point])) next[point]++;
    if (next[point] === end) return;
    let second = next[point] + 1;
    while (second < end && !hasRoom(point, second)) second++;
    queue.push(point, values[next[point]] - (second < end ? values[second] : worst));
  }

  for (let point = 0; point < rows; point++) enqueue(point);
  for (let point = queue.pop(); point >= 0; point = queue.pop()) {
    if (!hasRoom(point, next[point])) enqueue(point);
    else if (clusterOf[point] < 0) put(point, indices[next[point]]);
  }
}

/** Brings every cluster to its least size; false where no point is found that fits. */
function fillSmallClusters(
  { nearest }: CentroidSimilarities,
  { clusterOf, members, put, fits }: Placement,
  minSize: number,
  similarity: (point: number, cluster: number) => number,
): boolean {
  const isSmall = (cluster: number) => members[cluster].length < minSize;
  const small = [...members.keys()].filter(isSmall);
  const homeless = [...clusterOf.keys()].filter((point) => clusterOf[point] < 0).reverse();
  for (const cluster of small) {
    const tooHeavy: number[] = [];
    while (isSmall(cluster) && homeless.length > 0) {
      const point = homeless.pop() ?? -1;
      if (fits(point, cluster)) put(point, cluster);
      else tooHeavy.push(point);
    }
    homeless.push(...tooHeavy.reverse());
  }
  if (!small.some(isSmall)) return true;

  const canSpare = (point: number) => clusterOf[point] >= 0 && members[clusterOf[point]].length > minSize;
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
    if (clusterOf[point] === from && canSpare(point) && isSmall(to) && fits(point, to)) put(point, to);
  }
  if (!small.some(isSmall)) return true;

  const leastAtHome = createMaxHeap();
  for (let point = 0; point < clusterOf.length; point++) {
    if (canSpare(point)) leastAtHome.push(point, -similarity(point, clusterOf[point]));
  }
  for (const cluster of small) {
    while (isSmall(cluster)) {
      const point = leastAtHome.pop();
      if (point < 0) return false;
      if (canSpare(point) && fits(point, cluster)) put(point, cluster);
    }
  }
  return true;
}

/** Puts points without a place into the smallest clusters, or the lightest; false where one does not fit. */
function placeTheRest(
  { clusterOf, members, masses, put, fits }: Placement,
  massOf: Float64Array | undefined,
): boolean {
  const priority = (cluster: number) => (massOf ? -masses[cluster] : -members[cluster].length);
  const first = createMaxHeap();
  for (const cluster of members.keys()) first.push(cluster, priority(cluster));
  const homeless = [...clusterOf.keys()].filter((point) => clusterOf[point] < 0);
  if (massOf) homeless.sort((a, b) => massOf[b] - massOf[a] || a - b);
  for (const point of homeless) {
    let cluster = first.pop();
    // A light cluster may be full: it stays so.
    while (massOf && cluster >= 0 && !fits(point, cluster)) cluster = first.pop();
    if (cluster < 0) return false;
    put(point, cluster);
    first.push(cluster, priority(cluster));
  }
  return true;
}

/** Moves and exchanges points while that gains. */
function improve(
  { nearest }: CentroidSimilarities,
  { clusterOf, members, put, fits, mayExchange }: Placement,
  { minSize }: SizeBounds,
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
        if (fits(point, to) && members[from].length > minSize) {
          put(point, to);
        } else {
          let best = -1;
          let bestGain = least - gain;
          for (const other of members[to]) {
            const otherGain = similarity(other, from) - similarity(other, to);
            if (otherGain <= bestGain || !mayExchange(point, other)) continue;
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
