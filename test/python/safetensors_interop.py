"""Opens what a workspace holds with Python's `safetensors` and numpy alone, and prints what it finds, as JSON.

    safetensors_interop.py checkpoint FILE   names, types, shapes and sums of the tensors
    safetensors_interop.py affinity FILE     checks that the matrix is in compressed rows; prints its size and sums
"""

import json
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file


def checkpoint(path: str) -> dict:
    return {
        name: {
            "type": str(values.dtype),
            "shape": list(values.shape),
            "values": values.flatten().astype(float).tolist(),
        }
        for name, values in load_file(path).items()
    }


def affinity(path: str) -> dict:
    with safe_open(path, framework="numpy") as file:
        size = {key: int(file.metadata()[key]) for key in ("rows", "columns")}
    arrays = load_file(path)
    offsets, indices, values = arrays["offsets"], arrays["indices"], arrays["values"]
    assert set(arrays) == {"offsets", "indices", "values"}, set(arrays)
    assert offsets.dtype == indices.dtype == np.int32 and values.dtype == np.float32
    assert offsets.shape == (size["rows"] + 1,) and offsets[0] == 0 and np.all(np.diff(offsets) >= 0)
    assert offsets[-1] == len(indices) == len(values)
    assert np.all((indices >= 0) & (indices < size["columns"])) and np.all(np.isfinite(values))
    dense = np.zeros((size["rows"], size["columns"]))
    for row in range(size["rows"]):
        part = slice(offsets[row], offsets[row + 1])
        assert np.all(np.diff(indices[part]) > 0), f"row {row}: columns ascend"
        dense[row, indices[part]] = values[part]
    return {**size, "dense": dense.tolist()}


if __name__ == "__main__":
    command, path = sys.argv[1:]
    print(json.dumps({"checkpoint": checkpoint, "affinity": affinity}[command](path)))
