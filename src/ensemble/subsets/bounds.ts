import { assert, KdSpecError } from '../../core/errors.js';
import { createMaxHeap } from '../../math/max-heap.js';

/** How many points a cluster may hold. */
export interface SizeBounds {
  readonly minSize: number;
  readonly maxSize: number;
}

/** @throws KdSpecError `subsets-invalid` when no partition keeps to the bounds, with those that would do */
export function checkBounds(classes: number, clusters: number, { minSize, maxSize }: SizeBounds): void {
  const invalid = (message: string) => new KdSpecError('subsets-invalid', message);
  for (const [name, value] of Object.entries({ clusters, minSize, maxSize })) {
    if (Number.isInteger(value) && value >= (name === 'minSize' ? 0 : 1)) continue;
    throw invalid(`expected ${name} to be a whole number from 1, but got ${value}`);
  }
  if (clusters > classes) {
    throw invalid(`${clusters} subsets cannot be made of ${classes} classes: ask for at most ${classes}`);
  }
  if (clusters * minSize > classes) {
    throw invalid(
      `${clusters} subsets of at least ${minSize} classes need ${clusters * minSize} classes, but there are ` +
        `${classes}: use a least size of at most ${Math.floor(classes / clusters)}, or at most ` +
        `${Math.floor(classes / minSize)} subsets`,
    );
  }
  if (clusters * maxSize < classes) {
    throw invalid(
      `${clusters} subsets of at most ${maxSize} classes hold ${clusters * maxSize} classes, but there are ` +
        `${classes}: use a largest size of at least ${Math.ceil(classes / clusters)}, or at least ` +
        `${Math.ceil(classes / maxSize)} subsets`,
    );
  }
}

/** What one cluster may hold at most. */
export interface ClusterRoom {
  readonly maxSize: number;
  /** Mass of each point, (points). */
  readonly masses: ArrayLike<number>;
  readonly maxMass: number;
}

/** Who is where. */
export interface Placement {
  readonly clusterOf: Int32Array; // (points), -1 for none
  readonly members: readonly number[][]; // (clusters)
  readonly masses: Float64Array; // (clusters)
  put(point: number, cluster: number): void;
  /** Whether a cluster has room for a point that is elsewhere. */
  fits(point: number, cluster: number): boolean;
  /** Whether two points may change places. */
  mayExchange(a: number, b: number): boolean;
}

/** No point is anywhere yet. */
export function createPlacement(
  points: number,
  clusters: number,
  { maxSize, masses: massOf, maxMass }: ClusterRoom,
): Placement {
  const clusterOf = new Int32Array(points).fill(-1);
  const members: number[][] = Array.from({ length: clusters }, () => []);
  const masses = new Float64Array(clusters);
  const positions = new Int32Array(points);
  const most = maxMass * (1 + rounding);
  return {
    clusterOf,
    members,
    masses,
    put(point, cluster) {
      const before = clusterOf[point];
      if (before >= 0) {
        const last = members[before].pop();
        assert(last !== undefined, 'a member of an empty cluster');
        if (last !== point) {
          members[before][positions[point]] = last;
          positions[last] = positions[point];
        }
        masses[before] -= massOf[point];
      }
      clusterOf[point] = cluster;
      positions[point] = members[cluster].push(point) - 1;
      masses[cluster] += massOf[point];
    },
    fits: (point, cluster) => members[cluster].length < maxSize && masses[cluster] + massOf[point] <= most,
    mayExchange(a, b) {
      const more = massOf[a] - massOf[b]; // for the cluster of b
      return masses[clusterOf[b]] + more <= most && masses[clusterOf[a]] - more <= most;
    },
  };
}

const rounding = 1e-9; // of sums of masses, in either order

/**
 * Spreads points over clusters so that the heaviest cluster is light, whatever else the points have in common.
 *
 * The heaviest point first, each to the lightest cluster that has room; once only as many points are left as small
 * clusters lack, only these have room. Without bounds no cluster then holds more than the mean and the heaviest point
 * together (Graham 1969).
 *
 * @param masses (points), 0 or more
 * @param bounds clusters * minSize <= points <= clusters * maxSize
 * @returns the cluster of each point, (points), sizes within the bounds; cost O(points log points)
 */
export function packMasses(
  masses: ArrayLike<number>,
  clusters: number,
  { minSize, maxSize }: SizeBounds,
): Int32Array {
  const points = masses.length;
  const clusterOf = new Int32Array(points);
  const held = new Float64Array(clusters);
  const sizes = new Int32Array(clusters);
  const heaviestFirst = Int32Array.from({ length: points }, (_, point) => point).sort(
    (a, b) => masses[b] - masses[a] || a - b,
  );
  let lacking = clusters * minSize;
  let lightest = createMaxHeap();
  const offer = (mostSize: number) => {
    lightest = createMaxHeap();
    for (let cluster = 0; cluster < clusters; cluster++) {
      if (sizes[cluster] < mostSize) lightest.push(cluster, -held[cluster]);
    }
  };
  let room = maxSize;
  offer(room);
  for (let placed = 0; placed < points; placed++) {
    if (room > minSize && points - placed === lacking) {
      room = minSize;
      offer(room);
    }
    const point = heaviestFirst[placed];
    const cluster = lightest.pop();
    assert(cluster >= 0, 'the size bounds leave no partition');
    clusterOf[point] = cluster;
    held[cluster] += masses[point];
    if (++sizes[cluster] <= minSize) lacking--;
    if (sizes[cluster] < room) lightest.push(cluster, -held[cluster]);
  }
  return clusterOf;
}

/** The mass of the heaviest cluster. */
export function heaviest(masses: ArrayLike<number>, clusterOf: ArrayLike<number>, clusters: number): number {
  const held = new Float64Array(clusters);
  for (let point = 0; point < masses.length; point++) held[clusterOf[point]] += masses[point];
  return held.reduce((most, mass) => Math.max(most, mass), 0);
}
