"""What a patched model, and the model that it was made of, predict for a folder of images, one folder a character."""
import json
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
from PIL import Image

from glyphs import batch_of


def outcomes(model: str, folder: str, before: str | None = None) -> Iterator[tuple[Path, bool, bool]]:
    """Each image, whether the model itself is right, and whether the fused distribution is.

    A file whose last layer was refitted has the refitted model as its generalist: `before` then names another file of
    the same model, without.
    """
    session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
    start_from = onnxruntime.InferenceSession(before or model, providers=['CPUExecutionProvider'])
    names = json.loads(session.get_modelmeta().custom_metadata_map['kd_spec_names'])
    index = {name: position for position, name in enumerate(names)}
    files = sorted(Path(folder).glob('*/*.png'))
    for start in range(0, len(files), 64):
        batch = files[start : start + 64]
        images = batch_of([Image.open(file).convert('L') for file in batch])
        feed = {session.get_inputs()[0].name: images}
        outputs = [*start_from.run(['generalist'], feed), *session.run(['probabilities'], feed)]
        for file, first, second in zip(batch, *(output.argmax(1) for output in outputs)):
            label = index[file.parent.name]
            yield file, first == label, second == label
