"""What a patched model does to characters of which neither specialists nor their dustbin saw an image.

    python strangers.py --model patched.onnx --images FOLDER/strangers

Prints the share of images that the model itself and the fused distribution get right, and the standard error of the
difference. Needs numpy, pillow and onnxruntime.
"""
import argparse
import json
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
before, after = [], []
for start in range(0, len(files), 64):
    batch = files[start : start + 64]
    grey = np.stack([np.asarray(Image.open(file).convert('L'), np.float32) for file in batch])
    images = np.repeat((grey[:, None] / 255 - 0.5) / 0.5, 3, axis=1)
    labels = np.array([index[file.parent.name] for file in batch])
    generalist, fused = session.run(
        ['generalist', 'probabilities'], {session.get_inputs()[0].name: images.astype(np.float32)}
    )
    before.append(generalist.argmax(1) == labels)
    after.append(fused.argmax(1) == labels)
change = np.concatenate(after).astype(float) - np.concatenate(before)
print(
    f'strangers: {len(files)} images; the model {np.concatenate(before).mean():.2%}, patched '
    f'{np.concatenate(after).mean():.2%}, change {change.mean():+.2%} +- {change.std() / len(files) ** 0.5:.2%}'
)
