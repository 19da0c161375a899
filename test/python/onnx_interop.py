"""Runs exported models in ONNX Runtime's Python package.

    python onnx_interop.py FOLDER

FOLDER has `<case>.onnx` and `<case>.json` with the tensors to feed and the probabilities to expect, by batch. Prints as
JSON the greatest difference of a probability, by case.
"""
import json
import pathlib
import sys

import numpy
import onnxruntime

differences = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob('*.onnx')):
    case = json.loads(path.with_suffix('.json').read_text())
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata['kd_spec_output'] == case['output'], metadata
    worst = 0.0
    for batch in case['batches']:
        images = numpy.array(batch['data'], numpy.float32).reshape(batch['shape'])
        found, = session.run([case['output']], {case['input']: images})
        assert found.shape[0] == batch['shape'][0], found.shape
        worst = max(worst, float(numpy.abs(found.ravel() - numpy.array(batch['expected'])).max()))
    differences[path.stem] = worst
print(json.dumps(differences))
