"""Writes data sets as Python programs write them: `datasets` to Parquet, tarfile, NumPy, pandas and pyarrow.

tables_interop.py DIRECTORY
"""

import io
import os
import sys
import tarfile

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ROWS = 60
NAMES = ["ash", "bœuf", "椅子"]
directory = sys.argv[1]


def picture(row: int) -> Image.Image:
    """A colour image of 16 x 16 whose every pixel tells its row."""
    return Image.fromarray(np.full((16, 16, 3), row, dtype=np.uint8))


def png(row: int) -> bytes:
    buffer = io.BytesIO()
    picture(row).save(buffer, "PNG")
    return buffer.getvalue()


features = datasets.Features({"kind": datasets.ClassLabel(names=NAMES), "photo": datasets.Image()})
data = datasets.Dataset.from_dict(
    {"kind": [row % 3 for row in range(ROWS)], "photo": [picture(row) for row in range(ROWS)]}, features=features
)
for shard in range(2):
    path = f"{directory}/train-{shard:05d}-of-00002.parquet"
    data.shard(2, shard, contiguous=True).to_parquet(path, batch_size=7)

with tarfile.open(f"{directory}/shard.tar.gz", "w:gz") as archive:
    for row in range(ROWS):
        for ending, content in (("png", png(row)), ("txt", NAMES[row % 3].encode())):
            entry = tarfile.TarInfo(f"./deep/{'long' * 40}/{row:06d}.{ending}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

rows = np.arange(ROWS)
columns = {"embeddings": np.stack([rows, -rows], 1).astype(np.float16), "label": np.array(NAMES)[rows % 3]}
np.savez(f"{directory}/stored.npz", **columns)
np.savez_compressed(f"{directory}/packed.npz", **columns)

# pandas compresses by LZ4 unless told otherwise.
frame = pd.DataFrame({"embeddings": list(columns["embeddings"].astype(np.float32)), "label": columns["label"]})
frame.to_feather(f"{directory}/lz4.feather")
frame.astype({"label": "category"}).to_feather(f"{directory}/zstd.feather", compression="zstd", chunksize=7)
table = pa.Table.from_pandas(frame)
with pa.ipc.new_stream(
    f"{directory}/stream.arrow", table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")
) as writer:
    writer.write_table(table, max_chunksize=7)
os.mkdir(f"{directory}/packed")
for codec in ("lz4", "zstd"):
    pq.write_table(table, f"{directory}/packed/{codec}.parquet", compression=codec)
