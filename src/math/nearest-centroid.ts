import { type CsrMatrix, transposeCsr } from './csr.js';
import type { Distance, Points } from './kmeans-points.js';

/**
 * An inverted file of centroids: from each coordinate to the centroids that are not zero there.
 *
 * The distance of a point x to centroid c falls with `dot(x, c) - bias(c)`, where the bias is |c|² / 2 for
 * the Euclidean distance and 0 for the cosine distance, whose centroids are unit vectors. Only centroids
 * that share a coordinate with x have a dot product other than 0, so finding the nearest one costs as many
 * steps as there are shared entries, instead of clusters times entries of x; among the others the nearest
 * is the one of least bias.
 */
export interface CentroidIndex {
  readonly clusters: number;
  readonly postings: CsrMatrix; // (coordinates, clusters)
  readonly biases: Float64Array; // (clusters)
  readonly byBias: Int32Array; // (clusters), least bias first
}

/** The inverted file of centroids of shape (clusters, coordinates): O(entries + clusters log clusters). */
export function indexCentroids(centroids: CsrMatrix, distance: Distance): CentroidIndex {
  const clusters = centroids.rows;
  const biases = new Float64Array(clusters);
  const values = centroids.values.slice();
  for (let cluster = 0; cluster < clusters; cluster++) {
    const start = centroids.offsets[cluster];
    const end = centroids.offsets[cluster + 1];
    let squaredNorm = 0;
    for (let entry = start; entry < end; entry++) squaredNorm += values[entry] * values[entry];
    if (distance === 'euclidean') {
      biases[cluster] = squaredNorm / 2;
    } else if (squaredNorm > 0) {
      const scale = 1 / Math.sqrt(squaredNorm);
      for (let entry = start; entry < end; entry++) values[entry] *= scale;
    }
  }
  const byBias = Int32Array.from(biases.keys()).sort((a, b) => biases[a] - biases[b] || a - b);
  return { clusters, postings: transposeCsr({ ...centroids, values }), biases, byBias };
}

/**
 * Assigns points to their nearest centroids; of equally near ones to the lower number.
 *
 * @param points (points, coordinates)
 * @param selection the rows to assign
 * @param index the centroids
 * @param assignments (points), receives the cluster of each selected row; -1 for a row that has no
 *   direction under the cosine distance
 * @param distances (points), receives the distance of each selected row to its centroid; 0 where there is none
 * @returns how many assignments changed
 */
export function assignToNearest(
  { matrix, distance, scales, squaredNorms }: Points,
  selection: Int32Array,
  { clusters, postings, biases, byBias }: CentroidIndex,
  assignments: Int32Array,
  distances: Float64Array,
): number {
  const { offsets, indices, values } = matrix;
  const { offsets: postingOffsets, indices: postingClusters, values: postingValues } = postings;
  const dots = new Float64Array(clusters); // all 0 between points
  const isTouched = new Uint8Array(clusters); // likewise
  const touched = new Int32Array(clusters);
  let changed = 0;
  for (let position = 0; position < selection.length; position++) {
    const point = selection[position];
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
    if (2 * hits > clusters) {
      // Most centroids share something with the point: look at all.
      for (let cluster = 0; cluster < clusters; cluster++) {
        const height = biases[cluster] - scale * dots[cluster];
        dots[cluster] = 0;
        if (height >= least) continue;
        least = height;
        nearest = cluster;
      }
    } else {
      // Few do: go through them once more, and then to the first of the others.
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
          if (height > least || (height === least && cluster > nearest)) continue;
          least = height;
          nearest = cluster;
        }
      }
      for (let rank = 0; rank < clusters; rank++) {
        const cluster = byBias[rank];
        const height = biases[cluster];
        if (height > least) break;
        if (isTouched[cluster] === 1 || (height === least && cluster > nearest)) continue;
        least = height;
        nearest = cluster;
        break;
      }
      for (let k = 0; k < touchedCount; k++) isTouched[touched[k]] = 0;
    }

    const hasDirection = distance === 'euclidean' || scale > 0;
    if (!hasDirection) nearest = -1;
    if (assignments[point] !== nearest) changed++;
    assignments[point] = nearest;
    if (!hasDirection) distances[point] = 0;
    else distances[point] = Math.max(0, distance === 'cosine' ? 1 + least : squaredNorms[point] + 2 * least);
  }
  return changed;
}
