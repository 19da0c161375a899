"""Trains a small residual network in PyTorch and exports it as people do.

    python torch_model.py EXAMPLES.npz MODEL.onnx

EXAMPLES has `images`, (rows, size, size) from 0 to 255, and `labels`, (rows), from 0. The network is made to be as good
as a few passes make it. Works with PyTorch 1.13, whose exporter traces, and with later ones.
"""
import sys

import numpy
import torch
from torch import nn

examples = numpy.load(sys.argv[1])
images = torch.from_numpy((examples['images'] / 255 - 0.5) / 0.5).float()[:, None]
labels = torch.from_numpy(examples['labels']).long()


class Block(nn.Module):
    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(width_in, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.short = nn.Conv2d(width_in, width, 1, stride=2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.path(x) + self.short(x))


torch.manual_seed(1)
model = nn.Sequential(
    Block(1, 32), Block(32, 64), Block(64, 128), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(512, int(labels.max()) + 1)
)
batch, epochs = 32, 15
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=epochs * (len(labels) // batch))
for _ in range(epochs):
    order = torch.randperm(len(labels))
    for start in range(0, len(labels) - batch + 1, batch):
        rows = order[start : start + batch]
        loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
print(f'PyTorch {torch.__version__}: loss {loss.item():.3f}', file=sys.stderr)
model.eval()
torch.onnx.export(
    model,
    (images[:2],),
    sys.argv[2],
    input_names=['image'],
    output_names=['logits'],
    dynamic_axes={'image': {0: 'batch'}, 'logits': {0: 'batch'}},
)
