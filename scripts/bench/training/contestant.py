"""PyTorch's side of `npm run bench:training`; see contestant.ts for what it reads and writes.

    python contestant.py '{"batch": 128, "threads": 2, "input": [28, 28, 1], "convolutions": [32, 64], ...}'
"""

import json
import resource
import sys
import time

import torch
from torch import nn

setup = json.loads(sys.argv[1])
torch.set_num_threads(setup["threads"])
torch.manual_seed(1)

layers = []
if len(setup["input"]) == 3:
    height, width, channels = setup["input"]
    shape = [channels, height, width]
    for filters in setup["convolutions"]:
        layers.append(nn.Conv2d(channels, filters, setup["kernel"], padding="same", bias=False))
        layers += [nn.BatchNorm2d(filters, eps=1e-3), nn.ReLU(), nn.MaxPool2d(2)]
        channels, height, width = filters, height // 2, width // 2
    layers.append(nn.Flatten())
    features = channels * height * width
else:
    shape = setup["input"]
    features = shape[0]
for units in setup["dense"]:
    layers += [nn.Linear(features, units, bias=False), nn.BatchNorm1d(units, eps=1e-3), nn.ReLU()]
    features = units
layers.append(nn.Linear(features, setup["outputs"]))
network = nn.Sequential(*layers)
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
loss_of = nn.CrossEntropyLoss()
inputs = torch.rand(setup["batch"], *shape)
labels = torch.randint(setup["outputs"], (setup["batch"],))


def step():
    optimizer.zero_grad(set_to_none=True)
    # Each batch is new: like the other sides, this one copies it into a tensor of its own.
    loss_of(network(inputs.clone()), labels.clone()).backward()
    optimizer.step()


for line in sys.stdin:
    used, start = time.process_time(), time.perf_counter()
    for _ in range(int(line)):
        step()
    answer = {
        "seconds": time.perf_counter() - start,
        "processorSeconds": time.process_time() - used,
        "peakBytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "version": torch.__version__,
    }
    print(json.dumps(answer), flush=True)
