"""Times scikit-learn's MiniBatchKMeans on the matrix of clustering.ts; prints seconds and assignments as JSON."""

import json
import sys
import time

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
runs = []
for seed in range(seeds):
    started, cpu_started = time.perf_counter(), time.process_time()
    # Unit rows make the Euclidean distance the cosine one; the rest are scikit-learn's defaults.
    model = MiniBatchKMeans(clusters, random_state=seed, n_init="auto").fit(normalize(matrix))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    runs.append({"seconds": seconds, "cpuSeconds": cpu_seconds, "assignments": model.labels_.tolist()})
json.dump(runs, sys.stdout)
