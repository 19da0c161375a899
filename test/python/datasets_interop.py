"""Checks kd-spec's files with the Python programs that they must agree with.

    datasets_interop.py read DIRECTORY     opens a data set that kd-spec wrote; prints what it shows, as JSON
    datasets_interop.py write DIRECTORY    writes data sets with Python's `datasets`; prints what they hold
    datasets_interop.py predictions FILE   writes predictions with pyarrow, in the file format
"""

import io
import json
import sys

import datasets
import numpy as np
import pyarrow as pa
from PIL import Image


def read(directory: str) -> dict:
    data = datasets.load_from_disk(directory)
    splits = {}
    for name, split in data.items():
        label = split.features["label"]
        assert isinstance(split.features["image"], datasets.Image), split.features
        assert isinstance(label, datasets.ClassLabel), split.features
        splits[name] = {
            "rows": split.num_rows,
            "classes": label.names,
            "labels": split["label"][:],
            "modes": sorted({row["image"].mode for row in split}),
            "pixels": [np.asarray(row["image"]).flatten().tolist() for row in split],
        }
        # Other ways by which people read: filters, formats, shuffles and tables.
        if split.num_rows > 0:
            first = split.filter(lambda row: row["label"] == split[0]["label"]).shuffle(seed=0)
            assert 1 <= first.num_rows <= split.num_rows
            assert split.with_format("numpy")[0]["image"].shape == np.asarray(split[0]["image"]).shape
            assert split.to_pandas().shape == (split.num_rows, 2)
    return splits


def picture(row: int) -> Image.Image:
    """A colour image of 16 x 16 whose every pixel tells its row."""
    return Image.fromarray(np.full((16, 16, 3), row, dtype=np.uint8))


def write(directory: str) -> dict:
    rows = 60
    columns = {
        "note": [f"row {row}" for row in range(rows)],
        "kind": [row % 3 for row in range(rows)],
        "photo": [picture(row) for row in range(rows)],
    }
    features = datasets.Features(
        {
            "note": datasets.Value("large_string"),
            "kind": datasets.ClassLabel(names=["ash", "bœuf", "椅子"]),
            "photo": datasets.Image(),
        }
    )
    data = datasets.Dataset.from_dict(columns, features=features)
    data.save_to_disk(f"{directory}/single", num_shards=2)
    divided = datasets.DatasetDict(
        {"train": data.select(range(40)), "validation": data.select(range(40, 45)), "test": data.select(range(45, 60))}
    )
    divided.save_to_disk(f"{directory}/dict", num_shards={"train": 2, "validation": 1, "test": 1})

    # The same rows with several record batches a shard, and images that were files, as JPEG.
    def encoded(row: int) -> dict:
        buffer = io.BytesIO()
        picture(row).save(buffer, format="JPEG", quality=100)
        return {"bytes": buffer.getvalue(), "path": f"folder/{row}.jpg"}

    columns["photo"] = [encoded(row) for row in range(rows)]
    files = datasets.Dataset.from_dict(columns, features=features)
    datasets.config.DEFAULT_MAX_BATCH_SIZE = 7
    files.save_to_disk(f"{directory}/batches", num_shards=1)
    with pa.ipc.open_stream(f"{directory}/batches/data-00000-of-00001.arrow") as stream:
        batches = [batch.num_rows for batch in stream]
    return {"rows": rows, "classes": features["kind"].names, "batches": batches}


def predictions(path: str) -> dict:
    table = pa.table(
        {
            "indices": pa.array([[5, 2], [], [9]], pa.list_(pa.int32())),
            "probabilities": pa.array([[0.5, 0.25], [], [1.0]], pa.list_(pa.float32())),
            "label": pa.array([5, 0, 9], pa.int32()),
        }
    )
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table, max_chunksize=2)
    return {"rows": table.num_rows}


if __name__ == "__main__":
    command, path = sys.argv[1:]
    print(json.dumps({"read": read, "write": write, "predictions": predictions}[command](path)))
