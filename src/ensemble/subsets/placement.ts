import { assert } from '../../core/errors.js';

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
