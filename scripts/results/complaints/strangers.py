"""What a patched model does to characters of which neither specialists nor their dustbin saw an image.

    python strangers.py --model patched.onnx --images FOLDER/strangers

Prints the share of images that the model itself and the fused distribution get right, and the standard error of the
difference. Needs numpy, pillow and onnxruntime.
"""
import argparse

import numpy as np

from patched_model import outcomes

arguments = argparse.ArgumentParser()
arguments.add_argument('--model', required=True)
arguments.add_argument('--images', required=True)
arguments.add_argument('--before', help='a file whose generalist is the model itself, where that of --model was refitted')
options = arguments.parse_args()

before, after = np.array([right for _, *right in outcomes(options.model, options.images, options.before)], float).T
change = after - before
print(
    f'strangers: {len(change)} images; the model {before.mean():.2%}, patched {after.mean():.2%}, '
    f'change {change.mean():+.2%} +- {change.std() / len(change) ** 0.5:.2%}'
)
