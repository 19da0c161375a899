"""Reads images of single characters with rapidocr itself, once with its own model file and once with a patched one.

    python rapidocr_reads.py --patched patched.onnx --images FOLDER [--most 400] [--width 320]

The patched file has to have the fused distribution in its own output (--replace-output): rapidocr reads the first output.
FOLDER has a folder for each character. Prints one JSON object: images, how many texts are the character, before and
after, and the standard error of the difference. Needs rapidocr and onnxruntime.
"""
import argparse
import json
import logging
import random
from pathlib import Path

import cv2
import numpy as np
from rapidocr import RapidOCR

arguments = argparse.ArgumentParser()
arguments.add_argument('--patched', required=True)
arguments.add_argument('--images', required=True)
arguments.add_argument('--most', type=int, default=400)
arguments.add_argument('--width', type=int, default=320, help='pixels to which rapidocr fills up an image; its own: 320')
options = arguments.parse_args()
logging.getLogger('RapidOCR').setLevel(logging.ERROR)

files = sorted(Path(options.images).glob('*/*.png'))
random.Random(1).shuffle(files)
files = files[: options.most]


def right(model: str | None) -> np.ndarray:
    params = {'Global.use_det': False, 'Global.use_cls': False, 'Global.log_level': 'error',
              'Rec.rec_img_shape': [3, 48, options.width]}
    if model is not None:
        params['Rec.model_path'] = model
    engine = RapidOCR(params=params)
    found = []
    for file in files:
        image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
        texts = engine(image, use_det=False, use_cls=False, use_rec=True).txts or ('',)
        found.append(texts[0].strip() == file.parent.name)
    return np.array(found, float)


before, after = right(None), right(options.patched)
change = after - before
print(json.dumps({'images': len(files), 'width': options.width, 'before': before.mean(), 'after': after.mean(),
                  'standardError': change.std() / len(files) ** 0.5}))
