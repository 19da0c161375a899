"""A pool of images of characters, and which of them an OCR model takes most often for one another.

    python pool.py --model PP-OCRv6_rec_small.onnx --fonts node_modules/@fontsource --out FOLDER

Characters of GB 2312 are drawn in fonts of different designs and degraded as a poor scan: turned, shrunk to 16 to 29
pixels, blurred, faded, noisy. FOLDER/images/CHARACTER/DESIGN-VIEW.png depends on its name and the seed alone. The model
predicts one image of each character in each of seven designs; FOLDER/pool.json has the characters of the most confused
pairs first, and the designs: these seven are for training alone, of the others every run divides which are for
training, validation and test. Characters at the head of the list get more views. Needs numpy, pillow, fonttools, brotli
and onnxruntime.
"""
import argparse
import json
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
from fontTools.ttLib import TTFont
from PIL import Image, ImageFont

from glyphs import degraded, level_one, predicted

arguments = argparse.ArgumentParser()
arguments.add_argument('--model', required=True)
arguments.add_argument('--labels', help="the model's characters, one a line, where its metadata has none")
arguments.add_argument('--fonts', required=True)
arguments.add_argument('--out', required=True)
arguments.add_argument('--candidates', type=int, default=1900)
arguments.add_argument('--head', type=int, default=200, help='characters with more views')
arguments.add_argument('--views', type=int, default=4, help='of these characters in each design')
arguments.add_argument('--seed', type=int, default=1)
options = arguments.parse_args()

TRAINING = ['zen-antique', 'zcool-qingke-huangyou', 'yusei-magic', 'rocknroll-one', 'kosugi-maru', 'dotgothic16',
            'reggae-one']
DIVIDED = ['yomogi', 'zhi-mang-xing', 'shippori-antique', 'zcool-xiaowei', 'dela-gothic-one', 'hina-mincho',
           'long-cang', 'yuji-syuku', 'ma-shan-zheng', 'zen-kurenaido']

session_options = onnxruntime.SessionOptions()
session_options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(options.model, session_options, providers=['CPUExecutionProvider'])
characters = (Path(options.labels).read_text('utf-8').rstrip('\n') if options.labels
              else session.get_modelmeta().custom_metadata_map['character']).split('\n')
names = ['', *characters, ' ']
known = set(names)


def font_path(design: str) -> Path:
    for subset in ('chinese-simplified', 'japanese'):
        path = Path(options.fonts) / design / 'files' / f'{design}-{subset}-400-normal.woff2'
        if path.exists():
            return path
    raise SystemExit(f'{options.fonts}/{design}: expected the font of a development dependency of kd-spec')


fonts = {design: font_path(design) for design in TRAINING + DIVIDED}
drawn = {design: set(TTFont(path).getBestCmap()) for design, path in fonts.items()}
loaded = {design: ImageFont.truetype(str(path), 75) for design, path in fonts.items()}


def drawn_in(character: str, design: str, view: int) -> Image.Image:
    random = np.random.default_rng([options.seed, ord(character), zlib.crc32(design.encode()), view])
    return degraded(character, loaded[design], random)


def write(characters: list[str], views: range) -> int:
    written = 0
    for character in characters:
        folder = Path(options.out) / 'images' / character
        folder.mkdir(parents=True, exist_ok=True)
        for design in fonts:
            if ord(character) in drawn[design]:
                for view in views:
                    drawn_in(character, design, view).save(folder / f'{design}-{view}.png')
                    written += 1
    return written


suitable = [c for c in level_one() if c in known and sum(ord(c) in drawn[f] for f in fonts) >= 14]
order = np.random.default_rng(options.seed).permutation(len(suitable))
candidates = sorted(suitable[i] for i in order[: options.candidates])
candidate_set = set(candidates)
print(f'{len(suitable)} suitable characters, {len(candidates)} candidates', flush=True)
print('images', write(candidates, range(1)), flush=True)

pairs: Counter[tuple[str, str]] = Counter()
jobs = [(c, f, 0) for c in candidates for f in TRAINING if ord(c) in drawn[f]]
correct = 0
for start in range(0, len(jobs), 64):
    batch = jobs[start : start + 64]
    for (character, _, _), prediction in zip(batch, predicted(session, names, [drawn_in(*job) for job in batch])):
        correct += prediction == character
        if prediction != character and prediction in candidate_set:
            pairs[tuple(sorted((character, prediction)))] += 1
confused: list[str] = []
for pair, _ in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
    confused += [c for c in pair if c not in confused]
print(f'{correct} of {len(jobs)} images right; {len(confused)} characters taken for one another', flush=True)
print('more views', write(confused[: options.head], range(1, options.views)), flush=True)
pool = {'characters': candidates, 'confused': confused, 'training': TRAINING, 'divided': DIVIDED}
(Path(options.out) / 'pool.json').write_text(json.dumps(pool, ensure_ascii=False))
