"""What a patched model gains in each design of a folder of images: the test's gain says nothing about the next font.

    python by_design.py --model patched.onnx --images FOLDER/photos/test

Prints top-1 of the model itself and of the fused distribution for each design, and the mean change with its standard
error between designs. Needs numpy, pillow and onnxruntime.
"""
import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

arguments = argparse.ArgumentParser()
arguments.add_argument('--model', required=True)
arguments.add_argument('--images', required=True)
options = arguments.parse_args()

session = onnxruntime.InferenceSession(options.model, providers=['CPUExecutionProvider'])
names = json.loads(session.get_modelmeta().custom_metadata_map['kd_spec_names'])
index = {name: position for position, name in enumerate(names)}
files = sorted(Path(options.images).glob('*/*.png'))
right: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
for start in range(0, len(files), 64):
    batch = files[start : start + 64]
    grey = np.stack([np.asarray(Image.open(file).convert('L'), np.float32) for file in batch])
    images = np.repeat((grey[:, None] / 255 - 0.5) / 0.5, 3, axis=1).astype(np.float32)
    outputs = session.run(['generalist', 'probabilities'], {session.get_inputs()[0].name: images})
    for file, before, after in zip(batch, *(output.argmax(1) for output in outputs)):
        label = index[file.parent.name]
        right[file.stem.rsplit('-', 1)[0]].append((before == label, after == label))
changes = []
for design, outcomes in sorted(right.items()):
    before, after = np.array(outcomes).mean(0)
    changes.append(after - before)
    print(f'{design}: {len(outcomes)} images; the model {before:.1%}, patched {after:.1%}, change {after - before:+.1%}')
print(f'mean change {np.mean(changes):+.1%} +- {np.std(changes, ddof=1) / len(changes) ** 0.5:.1%} between designs')
