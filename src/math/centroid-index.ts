import { type CsrMatrix, transposeCsr } from './csr.js';
import type { Distance } from './kmeans-points.js';

/**
 * An inverted file of centroids: from each coordinate to the centroids that are not zero there.
 *
 * The distance of a point x to centroid c rises with its height, `bias(c) - dot(x, c)`, where the bias is
 * |c|² / 2 for the Euclidean distance and 0 for the cosine distance, whose centroids are unit vectors. Only
 * centroids that share a coordinate with x have a dot product other than 0, so finding the nearest one costs as
 * many steps as there are shared entries, instead of clusters times entries of x; among the others the nearest
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
