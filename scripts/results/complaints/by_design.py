"""What a patched model gains in each design of a folder of images: the test's gain says nothing about the next font.

    python by_design.py --model patched.onnx --images FOLDER/photos/test

Prints top-1 of the model itself and of the fused distribution for each design, and the mean change with its standard
error between designs. Needs numpy, pillow and onnxruntime.
"""
import argparse
from collections import defaultdict

import numpy as np

from patched_model import outcomes

arguments = argparse.ArgumentParser()
arguments.add_argument('--model', required=True)
arguments.add_argument('--images', required=True)
arguments.add_argument('--before', help='a file whose generalist is the model itself, where that of --model was refitted')
options = arguments.parse_args()

right: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
for file, before, after in outcomes(options.model, options.images, options.before):
    right[file.stem.rsplit('-', 1)[0]].append((before, after))
changes = []
for design, images in sorted(right.items()):
    before, after = np.array(images).mean(0)
    changes.append(after - before)
    print(f'{design}: {len(images)} images; the model {before:.1%}, patched {after:.1%}, change {after - before:+.1%}')
print(f'mean change {np.mean(changes):+.1%} +- {np.std(changes, ddof=1) / len(changes) ** 0.5:.1%} between designs')
