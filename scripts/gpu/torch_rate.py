"""PyTorch's side of scripts/gpu-check.sh, eager, on the GPU: images a second of the same networks.

    python torch_rate.py SECONDS 'WORKLOADS as JSON'
"""

import json
import sys
import time

import torch
from torch import nn

seconds, workloads = float(sys.argv[1]), json.loads(sys.argv[2])
if not torch.cuda.is_available() and not torch.backends.mps.is_available():
    sys.exit("PyTorch finds no GPU")
device = torch.device("cuda" if torch.cuda.is_available() else "mps")
name = torch.cuda.get_device_name() if device.type == "cuda" else "mps"


def synchronize():
    (torch.cuda if device.type == "cuda" else torch.mps).synchronize()


def features_of(network, definition):
    height, width = definition["input"]["height"], definition["input"]["width"]
    for _ in definition["convolutions"]:
        height, width = height // 2, width // 2
    return height * width * definition["convolutions"][-1]


def build(workload):
    definition = workload["definition"]
    layers, channels = [], definition["input"]["channels"]
    features = features_of(None, definition)
    if workload["from"] == "convolutions":
        for filters in definition["convolutions"]:
            layers.append(nn.Conv2d(channels, filters, definition["kernel"], padding="same", bias=False))
            layers += [nn.BatchNorm2d(filters, eps=1e-3), nn.ReLU(), nn.MaxPool2d(2)]
            channels = filters
        layers.append(nn.Flatten())
        shape = [definition["input"]["channels"], definition["input"]["height"], definition["input"]["width"]]
    else:
        shape = [features]
    for units in definition["dense"]:
        layers += [nn.Linear(features, units, bias=False), nn.BatchNorm1d(units, eps=1e-3), nn.ReLU()]
        features = units
    layers.append(nn.Linear(features, definition["outputs"]))
    return nn.Sequential(*layers).to(device), shape


for workload in workloads:
    network, shape = build(workload)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    loss_of = nn.CrossEntropyLoss()
    batch = workload["batch"]
    # Each batch comes from the host, as on the other side.
    inputs, labels = torch.rand(batch, *shape), torch.randint(workload["definition"]["outputs"], (batch,))

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss_of(network(inputs.to(device)), labels.to(device)).backward()
        optimizer.step()

    for _ in range(5):
        step()
    synchronize()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for _ in range(20):
            step()
        synchronize()
        done += 20
    rate = batch * done / (time.perf_counter() - start)
    print(json.dumps({"name": workload["name"], "device": name, "version": torch.__version__, "imagesPerSecond": rate}), flush=True)
