"""Images of a complaint list: the characters that an OCR model takes most often for one another, and bystanders.

    python images.py --model PP-OCRv6_rec_small.onnx --fonts node_modules/@fontsource --out FOLDER

Characters of GB 2312 are drawn in fonts of different designs and degraded as a poor scan: turned, shrunk to 16 to 29
pixels, blurred, faded, noisy. Designs are divided, not images: most are for training, four for validation, six for the
test. The model predicts one image of each candidate in each training design; the characters of the most confused pairs
are the list. FOLDER/photos/{train,val,test} has images of the list, FOLDER/others/{train,val,test} those of the other
candidates in the same designs, FOLDER/strangers those of characters that are neither, in the designs of the test. Needs numpy, pillow, fonttools, brotli and onnxruntime.
"""
import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
from fontTools.ttLib import TTFont
from PIL import Image, ImageFont

from glyphs import degraded, level_one, predicted

arguments = argparse.ArgumentParser()
arguments.add_argument('--model', required=True)
arguments.add_argument('--fonts', required=True)
arguments.add_argument('--out', required=True)
arguments.add_argument('--candidates', type=int, default=600)
arguments.add_argument('--characters', type=int, default=100)
arguments.add_argument('--views', type=int, default=3, help='images of each character in each design')
arguments.add_argument('--seed', type=int, default=1)
options = arguments.parse_args()

TEST = ['long-cang', 'zcool-xiaowei', 'yuji-syuku', 'zen-kurenaido', 'hina-mincho', 'zhi-mang-xing']
VALIDATION = ['ma-shan-zheng', 'yomogi', 'shippori-antique', 'dela-gothic-one']
LEFT_OUT = ['liu-jian-mao-cao']  # hardly legible

random = np.random.default_rng(options.seed)
session = onnxruntime.InferenceSession(options.model, providers=['CPUExecutionProvider'])
names = ['', *session.get_modelmeta().custom_metadata_map['character'].split('\n'), ' ']
known = set(names)

fonts: dict[str, Path] = {}
for folder in sorted(Path(options.fonts).iterdir()):
    for subset in ('chinese-simplified', 'japanese'):
        path = folder / 'files' / f'{folder.name}-{subset}-400-normal.woff2'
        if path.exists() and folder.name not in LEFT_OUT:
            fonts.setdefault(folder.name, path)
drawn = {name: set(TTFont(path).getBestCmap()) for name, path in fonts.items()}
training = [name for name in fonts if name not in TEST + VALIDATION]
loaded = {name: ImageFont.truetype(str(path), 75) for name, path in fonts.items()}


def drawn_in(character: str, font: str) -> Image.Image:
    return degraded(character, loaded[font], random)


def write(part: str, characters: list[str], designs: list[str], views: int) -> int:
    written = 0
    for character in characters:
        folder = Path(options.out) / part / character
        for design in designs:
            if ord(character) not in drawn[design]:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            for view in range(views):
                drawn_in(character, design).save(folder / f'{design}-{view}.png')
                written += 1
    return written


suitable = [c for c in level_one() if c in known and sum(ord(c) in drawn[f] for f in fonts) >= 14]
candidates = [suitable[i] for i in sorted(random.permutation(len(suitable))[: options.candidates])]
candidate_set = set(candidates)
pairs: Counter[tuple[str, str]] = Counter()
jobs = [(c, f) for c in candidates for f in training if ord(c) in drawn[f]]
correct = 0
for start in range(0, len(jobs), 64):
    batch = jobs[start : start + 64]
    for (character, _), prediction in zip(batch, predicted(session, names, [drawn_in(*job) for job in batch])):
        correct += prediction == character
        if prediction != character and prediction in candidate_set:
            pairs[tuple(sorted((character, prediction)))] += 1
listed: list[str] = []
for pair, _ in pairs.most_common():
    listed += [c for c in pair if c not in listed]
    if len(listed) >= options.characters:
        break
listed = sorted(listed[: options.characters])
others = [c for c in candidates if c not in set(listed)]
print(f'{correct} of {len(jobs)} images of candidates right; {len(listed)} characters on the list')
print('train', write('photos/train', listed, training, options.views))
print('val', write('photos/val', listed, VALIDATION, options.views))
print('test', write('photos/test', listed, TEST, options.views))
print('bystanders that teach, half of these', write('others/train', others, training, 1))
print('bystanders that bound the harm, the other half', write('others/val', others, VALIDATION, 1))
print('bystanders for the test', write('others/test', others, TEST, 1))
rest = [c for c in suitable if c not in candidate_set]
print('strangers', write('strangers', [rest[i] for i in sorted(random.permutation(len(rest))[:400])], TEST, 1))
