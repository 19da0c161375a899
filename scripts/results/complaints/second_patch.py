"""What a second patch leaves of the first: its tensors in the file, and what the file reads of the first list.

    python second_patch.py --first once.onnx --second twice.onnx --images FOLDER [--most 400]

FOLDER has a folder of test images for each character of the first list. Prints one JSON object: tensors that the first
patch added, how many of them are in the second file byte for byte, and top-1 on the images with the model alone, with the
first patch and with both. Needs numpy, pillow, onnx and onnxruntime.
"""
import argparse
import json
import random
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image

arguments = argparse.ArgumentParser()
arguments.add_argument('--first', required=True)
arguments.add_argument('--second', required=True)
arguments.add_argument('--images', required=True)
arguments.add_argument('--most', type=int, default=400)
options = arguments.parse_args()


def tensors(path: str) -> dict[str, bytes]:
    return {one.name: one.SerializeToString() for one in onnx.load(path).graph.initializer}


first, second = tensors(options.first), tensors(options.second)
added = [name for name in first if name.startswith('kd_spec_')]
kept = [name for name in added if second.get(name) == first[name]]

files = sorted(Path(options.images).glob('*/*.png'))
random.Random(1).shuffle(files)
files = files[: options.most]
grey = np.stack([np.asarray(Image.open(file).convert('L'), np.float32) for file in files])
images = np.repeat((grey[:, None] / 255 - 0.5) / 0.5, 3, axis=1)


def right(path: str) -> tuple[float, float]:
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    names = json.loads(session.get_modelmeta().custom_metadata_map['kd_spec_names'])
    index = {name: position for position, name in enumerate(names)}
    labels = np.array([index[file.parent.name] for file in files])
    before, after = [], []
    for start in range(0, len(files), 32):
        feeds = {session.get_inputs()[0].name: images[start : start + 32].astype(np.float32)}
        generalist, fused = session.run(['generalist', 'probabilities'], feeds)
        before.append(generalist.argmax(1))
        after.append(fused.argmax(1))
    return float((np.concatenate(before) == labels).mean()), float((np.concatenate(after) == labels).mean())


model, once = right(options.first)
_, twice = right(options.second)
print(json.dumps({'images': len(files), 'tensors': len(added), 'sameBytes': len(kept), 'model': model, 'first': once,
                  'both': twice}))
