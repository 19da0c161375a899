"""Times scikit-learn's MiniBatchKMeans and faiss's spherical k-means on the matrix of clustering.ts.

    clustering_others.py FOLDER COLUMNS CLUSTERS SEEDS NAME

Prints the version, seconds and assignments of each run, and the largest memory of this process as JSON.
"""

import json
import resource
import sys
import time
from importlib.metadata import version

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.cluster import MiniBatchKMeans
from sklearn.preprocessing import normalize

folder, columns, clusters, seeds = sys.argv[1], *map(int, sys.argv[2:5])
matrix = csr_matrix(
    (
        np.fromfile(f"{folder}/values.f32", np.float32),
        np.fromfile(f"{folder}/indices.i32", np.int32),
        np.fromfile(f"{folder}/offsets.i32", np.int32),
    ),
    shape=(columns, columns),
)


def scikit_learn(seed):
    # Unit rows make the Euclidean distance the cosine one; the rest are scikit-learn's defaults.
    return MiniBatchKMeans(clusters, random_state=seed, n_init="auto").fit(normalize(matrix)).labels_


def faiss_spherical(seed):
    import faiss

    dense = normalize(matrix).toarray()
    model = faiss.Kmeans(columns, clusters, niter=20, spherical=True, seed=seed + 1)
    model.train(dense)
    return model.index.search(dense, 1)[1][:, 0]


programs = {"scikit-learn": scikit_learn, "faiss-cpu": faiss_spherical}
name = sys.argv[5]
runs = []
for seed in range(seeds):
    started, cpu_started = time.perf_counter(), time.process_time()
    labels = programs[name](seed)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    runs.append({"seconds": seconds, "cpuSeconds": cpu_seconds, "assignments": labels.tolist()})
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kilobytes, on Linux
json.dump({"version": version(name), "runs": runs, "peakGigabytes": peak}, sys.stdout)
