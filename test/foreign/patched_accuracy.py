"""What a patched model predicts for folders of images, in ONNX Runtime's Python package.

    python patched_accuracy.py MODEL.onnx FOLDER

FOLDER has a folder for each class. Prints as JSON the share of images that the model itself and the fused distribution
get right. Reads how images are fed from the model's metadata, as any program may.
"""
import json
import pathlib
import sys

import numpy
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
metadata = session.get_modelmeta().custom_metadata_map
names = json.loads(metadata['kd_spec_names'])
feed = json.loads(metadata['kd_spec_input'])
normalisation = feed['reading']['normalisation']
mean, deviation = (
    numpy.array(normalisation[key], numpy.float32).reshape(1, -1, 1, 1) for key in ('mean', 'deviation')
)
outputs = ['generalist', metadata['kd_spec_output']]
right = numpy.zeros(2)
files = sorted(pathlib.Path(sys.argv[2]).glob('*/*.png'))
for start in range(0, len(files), 32):
    batch = files[start : start + 32]
    grey = numpy.stack([numpy.asarray(Image.open(file).convert('L'), numpy.float32) for file in batch])
    pixels = numpy.repeat(grey[:, None], feed['image']['channels'], axis=1) / 255
    results = session.run(outputs, {session.get_inputs()[0].name: (pixels - mean) / deviation})
    labels = [names.index(file.parent.name) for file in batch]
    right += [(result.argmax(1) == labels).sum() for result in results]
print(json.dumps({'images': len(files), 'before': right[0] / len(files), 'after': right[1] / len(files)}))
