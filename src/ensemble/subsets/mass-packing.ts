import { assert } from '../../core/errors.js';
import { createMaxHeap } from '../../math/max-heap.js';
import type { SizeBounds } from './size-bounds.js';

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
