"""Trains torchvision's ResNet-18 on drawings and exports it as PyTorch's documentation says.

    python train.py FOLDER [--epochs 5]

FOLDER has `model-images.u8`, (rows, size, size, RGB) from 0 to 255, and `model-labels.json` with `classes`, `size` and
`labels`: `drawings.ts`. Images are normalised as torchvision does it for ImageNet. Augmentation: moved by up to three
pixels, scaled by up to a fifth, black on white turned into white on black now and then. Nothing is chosen: the schedule
is fixed beforehand. A training that was interrupted goes on after the last epoch that was finished. Writes `model.onnx`
(with `model.onnx.data`, where this PyTorch's exporter stores weights there), `labels.txt` and `training.json`.
"""
import argparse
import json
import math
import pathlib
import time

import numpy
import torch
import torchvision
from torch.nn import functional

parser = argparse.ArgumentParser()
parser.add_argument('folder', type=pathlib.Path)
parser.add_argument('--epochs', type=int, default=5)
parser.add_argument('--threads', type=int, default=2)
given = parser.parse_args()
folder: pathlib.Path = given.folder
batch, peak = 128, 0.004
mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

torch.set_num_threads(given.threads)
torch.manual_seed(1)
facts = json.loads((folder / 'model-labels.json').read_text())
labels = torch.tensor(facts['labels'])
size = facts['size']
images = torch.from_numpy(numpy.fromfile(folder / 'model-images.u8', numpy.uint8).reshape(-1, size, size, 3).copy())
images = images.permute(0, 3, 1, 2)
model = torchvision.models.resnet18(num_classes=len(facts['classes'])).to(memory_format=torch.channels_last)
steps = given.epochs * (len(labels) // batch)
optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.05)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps, pct_start=0.2)


def augment(rows: torch.Tensor) -> torch.Tensor:
    """Drawings moved, scaled and sometimes inverted: (batch, 3, size, size) from 0 to 1."""
    count = len(rows)
    scale = torch.exp((torch.rand(count, 2) - 0.5) * 2 * math.log(1.2))
    move = (torch.rand(count, 2) - 0.5) * 2 * 3 * 2 / size
    transform = torch.cat([torch.diag_embed(scale), move[:, :, None]], dim=2)
    grid = functional.affine_grid(transform, list(rows.shape), align_corners=False)
    moved = 1 - functional.grid_sample(1 - rows, grid, align_corners=False)
    inverted = (torch.rand(count) < 0.1)[:, None, None, None]
    return torch.where(inverted, 1 - moved, moved)


checkpoint, history, first = folder / 'checkpoint.pt', [], 0
if checkpoint.exists():
    saved = torch.load(checkpoint)
    model.load_state_dict(saved['model'])
    optimizer.load_state_dict(saved['optimizer'])
    schedule.load_state_dict(saved['schedule'])
    history, first = saved['history'], len(saved['history'])
for epoch in range(first, given.epochs):
    torch.manual_seed(1000 + epoch)
    model.train()
    start, total, right = time.process_time(), 0.0, 0
    order = torch.randperm(len(labels))
    for at in range(0, len(labels) - batch + 1, batch):
        rows = order[at : at + batch]
        inputs = (augment(images[rows].float() / 255) - mean) / deviation
        logits = model(inputs.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits, labels[rows], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item() * batch
        right += (logits.argmax(1) == labels[rows]).sum().item()
    seen = len(labels) // batch * batch
    history.append({'loss': total / seen, 'top1': right / seen, 'seconds': time.process_time() - start})
    print(f'epoch {epoch + 1}: {history[-1]}', flush=True)
    state = {'model': model.state_dict(), 'optimizer': optimizer.state_dict(), 'schedule': schedule.state_dict()}
    torch.save({**state, 'history': history}, checkpoint.with_suffix('.part'))
    checkpoint.with_suffix('.part').replace(checkpoint)

model.eval()
example = torch.zeros(2, 3, size, size)
if tuple(int(part) for part in torch.__version__.split('.')[:2]) >= (2, 9):
    torch.onnx.export(model, (example,), folder / 'model.onnx', dynamic_shapes={'x': {0: torch.export.Dim('batch')}})
else:
    names = {'input_names': ['x'], 'output_names': ['logits']}
    torch.onnx.export(model, (example,), str(folder / 'model.onnx'), dynamic_axes={'x': {0: 'batch'}}, **names)
(folder / 'labels.txt').write_text(''.join(f'{name}\n' for name in facts['classes']))
versions = {'torch': torch.__version__, 'torchvision': torchvision.__version__}
(folder / 'training.json').write_text(json.dumps({**versions, 'images': len(labels), 'epochs': history}))
