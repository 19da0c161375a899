"""Classifiers of very many classes that somebody would try before specialists, in PyTorch, on the images of frontier.ts.

    rivals.py FOLDER '{"head": "two-level", "dense": [192], "epochs": 3, ...}'

FOLDER has images.json and, of each split, its images and labels. Trains, fits a temperature and a share of label noise on
validation images, and prints accuracy on validation and test, likelihood, operations, parameters and seconds as JSON. With
"weights": PATH the trained weights are kept there, and a second run takes them. Every network has kd-spec's convolutions and its optimiser: AdamW with decay of weights alone, a linear
warm-up over 5% of the steps, a cosine. Heads:

    plain         one layer of all classes
    two-level     p(group) p(class | group), given groups of classes; a prediction computes the likeliest groups
    mixture       a mixture of softmaxes that share a layer (Yang et al. 2018)
    experts       plain, after a layer of which each image takes the best two of several (Shazeer et al. 2017)
    stored        a generalist of kd-spec as it is: "checkpoint" is its folder; with "preview" a prediction computes all
                  classes in so many dimensions and the best "exact" of them in full (Shim et al. 2017)

"adjust": "bias" adds a bias for each class, fitted to half of the validation images; "frequency" takes a share of the
classes' log-frequency from the logits (Menon et al. 2021), chosen on validation.
"""

import json
import os
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

folder, settings = sys.argv[1], json.loads(sys.argv[2])
torch.manual_seed(settings["seed"])
shape = json.load(open(f"{folder}/images.json"))
classes, height, width = shape["classes"], shape["height"], shape["width"]
step_in_passes = 3  # operations of a training step, in forward passes


def split(name):
    images = np.fromfile(f"{folder}/{name}.u8", np.uint8).reshape(-1, 1, height, width)
    labels = np.fromfile(f"{folder}/{name}.i32", np.int32).astype(np.int64)
    return torch.from_numpy(images), torch.from_numpy(labels)


def fresh(layer, gain):
    nn.init.normal_(layer.weight, std=(gain / layer.weight[0].numel()) ** 0.5)
    return layer


class Trunk(nn.Module):
    """Convolutions with normalisation, ReLU and pooling, then dense layers: (batch, 1, height, width) to (batch, units)."""

    def __init__(self, convolutions, dense, epsilon=1e-5):
        super().__init__()
        layers, channels, side, self.flops = [], 1, (height, width), 0
        for filters in convolutions:
            self.flops += 2 * side[0] * side[1] * 9 * channels * filters
            convolution = fresh(nn.Conv2d(channels, filters, 3, padding=1, bias=False), 2)
            layers += [convolution, nn.BatchNorm2d(filters, eps=epsilon), nn.ReLU(), nn.MaxPool2d(2)]
            channels, side = filters, (side[0] // 2, side[1] // 2)
        layers.append(nn.Flatten())
        units = channels * side[0] * side[1]
        for wider in dense:
            self.flops += 2 * units * wider
            layers += [fresh(nn.Linear(units, wider, bias=False), 2), nn.BatchNorm1d(wider, eps=epsilon), nn.ReLU()]
            units = wider
        self.layers, self.units = nn.Sequential(*layers), units

    def forward(self, images):
        return self.layers(images.float() / 255)


class Plain(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.head = fresh(nn.Linear(units, classes), 1)
        nn.init.zeros_(self.head.bias)
        self.flops = self.training_flops = 2 * units * classes

    def loss(self, hidden, labels):
        return functional.cross_entropy(self.head(hidden), labels)

    def log_probabilities(self, hidden):
        return functional.log_softmax(self.head(hidden), 1)


class TwoLevel(nn.Module):
    def __init__(self, units, groups, frequencies):
        super().__init__()
        assert sorted(label for members in groups for label in members) == list(range(classes)), "no partition"
        self.group_of = torch.empty(classes, dtype=torch.long)
        self.place_of = torch.empty(classes, dtype=torch.long)
        for number, members in enumerate(groups):
            self.group_of[members] = number
            self.place_of[members] = torch.arange(len(members))
        self.members = [torch.tensor(members) for members in groups]
        self.first = fresh(nn.Linear(units, len(groups)), 1)
        self.seconds = nn.ModuleList(fresh(nn.Linear(units, len(members)), 1) for members in groups)
        for layer in [self.first, *self.seconds]:
            nn.init.zeros_(layer.bias)
        sizes = torch.tensor([len(members) for members in groups])
        self.flops_of_groups = 2 * units * sizes
        own = (frequencies * sizes[self.group_of]).sum() / frequencies.sum()
        self.training_flops = 2 * units * (len(groups) + float(own))
        self.flops = 2 * units * len(groups)  # and those of the groups that are computed

    def loss(self, hidden, labels):
        of_group = self.group_of[labels]
        order = of_group.argsort()
        loss = functional.cross_entropy(self.first(hidden), of_group, reduction="sum")
        start = 0
        for number, count in enumerate(torch.bincount(of_group, minlength=len(self.seconds)).tolist()):
            if count == 0:
                continue
            rows = order[start : start + count]
            start += count
            logits = self.seconds[number](hidden[rows])
            loss = loss + functional.cross_entropy(logits, self.place_of[labels[rows]], reduction="sum")
        return loss / len(labels)

    def log_probabilities(self, hidden, mass=None):
        """All groups, or as many of the likeliest as hold a mass; the others share theirs out evenly."""
        first = functional.log_softmax(self.first(hidden), 1)
        probabilities = first.exp()
        result = torch.empty(len(hidden), classes)
        asked = torch.ones_like(probabilities, dtype=torch.bool)
        if mass is not None:
            largest, order = probabilities.sort(1, descending=True)
            before = largest.cumsum(1) - largest
            asked.scatter_(1, order, before < mass)
        for number, members in enumerate(self.members):
            inside = functional.log_softmax(self.seconds[number](hidden), 1)
            even = torch.full_like(inside, -float(np.log(len(members))))
            result[:, members] = first[:, number, None] + torch.where(asked[:, number, None], inside, even)
        flops = self.flops + float((asked.float() * self.flops_of_groups).sum(1).mean())
        return result, flops


class Mixture(nn.Module):
    def __init__(self, units, parts, inner):
        super().__init__()
        self.parts, self.inner = parts, inner
        self.prior = fresh(nn.Linear(units, parts), 1)
        self.projection = fresh(nn.Linear(units, parts * inner), 1)
        self.head = fresh(nn.Linear(inner, classes), 1)
        self.flops = self.training_flops = 2 * (units * parts * (inner + 1) + parts * inner * classes)

    def log_probabilities(self, hidden):
        inner = torch.tanh(self.projection(hidden)).view(-1, self.parts, self.inner)
        each = functional.log_softmax(self.head(inner), 2)
        prior = functional.log_softmax(self.prior(hidden), 1)
        return torch.logsumexp(prior[:, :, None] + each, 1)

    def loss(self, hidden, labels):
        return functional.nll_loss(self.log_probabilities(hidden), labels)


class Experts(nn.Module):
    """Each image takes the two likeliest of several layers, weighted by the gate; then one head for all."""

    def __init__(self, units, count, between, inner):
        super().__init__()
        self.gate = fresh(nn.Linear(units, count), 1)
        self.experts = nn.ModuleList(
            nn.Sequential(fresh(nn.Linear(units, between), 2), nn.ReLU(), fresh(nn.Linear(between, inner), 2))
            for _ in range(count)
        )
        self.normalisation = nn.BatchNorm1d(inner)
        self.plain = Plain(inner)
        of_layers = 2 * (units * count + 2 * (units * between + between * inner))
        self.flops = self.training_flops = of_layers + self.plain.flops
        self.balance = 0

    def combined(self, hidden):
        probabilities = functional.softmax(self.gate(hidden), 1)
        largest, chosen = probabilities.topk(2, 1)
        weights = largest / largest.sum(1, keepdim=True)
        rows, parts = [], []
        for number, expert in enumerate(self.experts):
            row, place = (chosen == number).nonzero(as_tuple=True)
            rows.append(row)
            parts.append(expert(hidden[row]) * weights[row, place, None])
        summed = torch.zeros(len(hidden), parts[0].shape[1]).index_add(0, torch.cat(rows), torch.cat(parts))
        share = functional.one_hot(chosen, len(self.experts)).float().mean((0, 1))
        self.balance = len(self.experts) * (share * probabilities.mean(0)).sum()  # Fedus et al. 2022, equation 4
        return functional.relu(self.normalisation(summed))

    def loss(self, hidden, labels):
        return self.plain.loss(self.combined(hidden), labels) + 0.01 * self.balance

    def log_probabilities(self, hidden):
        return self.plain.log_probabilities(self.combined(hidden))


class Preview:
    """A head whose prediction computes all classes in a few dimensions and the best of them in full."""

    def __init__(self, head, dimensions, exact):
        left, values, right = torch.linalg.svd(head.weight, full_matrices=False)
        self.turn, self.weights, self.bias, self.exact = right.T, left * values, head.bias, exact
        self.dimensions = dimensions
        units = head.weight.shape[1]
        assert dimensions < units, "a preview has fewer dimensions than the head"
        self.flops = 2 * (units * units + dimensions * classes + exact * (units - dimensions))

    def log_probabilities(self, hidden):
        turned = hidden @ self.turn
        logits = turned[:, : self.dimensions] @ self.weights[:, : self.dimensions].T + self.bias
        best = logits.topk(self.exact, 1).indices
        rest = torch.einsum("bd,bed->be", turned[:, self.dimensions :], self.weights[best][:, :, self.dimensions :])
        return functional.log_softmax(logits.scatter_add(1, best, rest), 1)


def stored(checkpoint):
    """A generalist of kd-spec: its layers as a trunk, its last one as a plain head."""
    from safetensors.numpy import load_file

    network = json.load(open(f"{checkpoint}/config.json"))["network"]
    values = {name: torch.from_numpy(value) for name, value in load_file(f"{checkpoint}/model.safetensors").items()}
    trunk = Trunk(network["convolutions"], network["dense"], epsilon=1e-3)
    head = Plain(network["dense"][-1])
    layers = [layer for layer in trunk.layers if isinstance(layer, (nn.Conv2d, nn.Linear))]
    normal = [layer for layer in trunk.layers if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm1d))]
    names = [f"convolutions.{i}" for i in range(len(network["convolutions"]))]
    names += [f"dense.{i}" for i in range(len(network["dense"]))]
    with torch.no_grad():
        for name, layer, normalisation in zip(names, layers, normal):
            weights = values[f"{name}.weights"]
            if name == "dense.0":  # kd-spec flattens channels last
                side = (height >> len(network["convolutions"]), width >> len(network["convolutions"]))
                weights = weights.reshape(*side, -1, weights.shape[1]).permute(2, 0, 1, 3).flatten(0, 2)
            layer.weight.copy_(weights.permute(3, 2, 0, 1) if weights.ndim == 4 else weights.T)
            normalisation.weight.copy_(values[f"{name}.scale"])
            normalisation.bias.copy_(values[f"{name}.bias"])
            normalisation.running_mean.copy_(values[f"{name}.mean"])
            normalisation.running_var.copy_(values[f"{name}.variance"])
        head.head.weight.copy_(values["head.weights"].T)
        head.head.bias.copy_(values["head.bias"])
    return trunk.eval(), head.eval()


def train(trunk, head):
    images, labels = split("train")
    parameters = [*trunk.named_parameters(), *head.named_parameters()]
    decayed = [value for name, value in parameters if value.ndim > 1]
    others = [value for name, value in parameters if value.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, lr=settings["learningRate"])
    batch_size = settings["batchSize"]
    steps = int(settings["epochs"] * len(labels) / batch_size)
    warm = round(0.05 * steps)

    def rate(step):
        if step < warm:
            return (step + 1) / warm
        return (1 + np.cos(np.pi * min(1, (step - warm) / max(1, steps - warm)))) / 2

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    started, step, order, at = time.perf_counter(), 0, torch.randperm(len(labels)), 0
    while step < steps:
        if at + batch_size > len(order):
            order, at = torch.randperm(len(labels)), 0
        rows = order[at : at + batch_size]
        at += batch_size
        loss = head.loss(trunk(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 1000 == 0:
            print(f"step {step} of {steps}, loss {loss.item():.3f}", file=sys.stderr)
        step += 1
    trunk.eval()
    head.eval()
    examples = steps * batch_size
    flops = step_in_passes * (trunk.flops + head.training_flops) * examples
    return {"trainingFlops": flops, "trainingSeconds": time.perf_counter() - started}


def trained(trunk, head):
    """Trains, or takes the weights that an earlier run kept; returns what the training cost."""
    path = settings.get("weights")
    if path and os.path.exists(path):
        kept = torch.load(path)
        trunk.load_state_dict(kept["trunk"])
        head.load_state_dict(kept["head"])
        trunk.eval()
        head.eval()
        return kept["costs"]
    costs = train(trunk, head)
    if path:
        torch.save({"trunk": trunk.state_dict(), "head": head.state_dict(), "costs": costs}, f"{path}.part")
        os.replace(f"{path}.part", path)
    return costs


@torch.no_grad()
def predict(trunk, head, images, **options):
    chunks, flops = [], []
    for start in range(0, len(images), 1024):
        result = head.log_probabilities(trunk(images[start : start + 1024]), **options)
        logs, cost = result if isinstance(result, tuple) else (result, head.flops)
        chunks.append(logs)
        flops.append(cost * len(logs))
    return torch.cat(chunks), trunk.flops + sum(flops) / len(images)


def tempered(logs, temperature, noise, labels):
    """Log-probabilities of the labels under a temperature and a share of labels that are drawn at random."""
    own = functional.log_softmax(logs / temperature, 1).gather(1, labels[:, None])[:, 0]
    return torch.log((1 - noise) * own.exp() + noise / classes)


def fit(logs, labels, most=4000):
    logs, labels = logs[:most], labels[:most]
    return min(
        (float(-tempered(logs, t, e, labels).mean()), t, e)
        for t in np.geomspace(0.6, 1.6, 15)
        for e in [0, 0.02, 0.05, 0.08, 0.11, 0.15]
    )[1:]


def fitted_bias(logs, labels):
    """A bias for each class, by gradient descent on half of the images, with the decay that is best on the other."""
    half = torch.arange(len(labels)) % 2 == 0
    best = (float("inf"), torch.zeros(classes))
    for decay in [1e-1, 1e-2, 1e-3, 1e-4]:
        bias = torch.zeros(classes, requires_grad=True)
        optimizer = torch.optim.Adam([bias], lr=0.05)
        for _ in range(60):
            loss = functional.cross_entropy(logs[half] + bias, labels[half]) + decay * (bias**2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        value = bias.detach()
        other = float(functional.cross_entropy(logs[~half] + value, labels[~half]))
        best = min(best, (other, value), key=lambda one: one[0])
    return best[1]


def adjusted(logs, labels, frequencies):
    """The share of the classes' log-frequency to take away (Menon et al. 2021) with which most labels are right."""
    prior = torch.log((frequencies + 1) / (frequencies + 1).sum())
    shares = [-0.4, -0.2, -0.1, 0, 0.1, 0.2, 0.4]
    right = [float(((logs - share * prior).argmax(1) == labels).float().mean()) for share in shares]
    return -shares[int(np.argmax(right))] * prior


def scores(logs, labels, fitted):
    own = logs.gather(1, labels[:, None])
    ranks = (logs > own).sum(1) + ((logs == own).sum(1) - 1) / 2  # classes of a group that is not computed are equal
    likelihood = -tempered(logs, *fitted, labels)
    return {
        "top1": float((ranks < 1).float().mean()),
        "top5": float((ranks < 5).float().mean()),
        "negativeLogLikelihood": float(likelihood.mean()),
        "examples": len(labels),
    }


def measure(trunk, head, costs):
    validation_images, validation_labels = split("validation")
    masses = [None, 0.999, 0.99, 0.97, 0.95, 0.9, 0.8, 0.6] if isinstance(head, TwoLevel) else [None]
    results = []
    for mass in masses:
        options = {} if mass is None else {"mass": mass}
        logs, flops = predict(trunk, head, validation_images, **options)
        added = torch.zeros(classes)
        if settings.get("adjust") == "bias":
            added = fitted_bias(logs, validation_labels)
        if settings.get("adjust") == "frequency":
            added = adjusted(logs, validation_labels, frequencies)
        fitted = fit(logs + added, validation_labels)
        result = {**options, "flopsPerImage": flops, "temperature": fitted[0], "noise": fitted[1]}
        result["validation"] = scores(logs + added, validation_labels, fitted)
        images, labels = split("test")
        result["test"] = scores(predict(trunk, head, images, **options)[0] + added, labels, fitted)
        results.append(result)
    values = {**trunk.state_dict(), **head.state_dict(prefix="head.")} if isinstance(head, nn.Module) else {}
    count = sum(value.numel() for name, value in values.items() if not name.endswith("num_batches_tracked"))
    return {**costs, "parameters": count, "results": results}


frequencies = torch.from_numpy(np.bincount(np.fromfile(f"{folder}/train.i32", np.int32), minlength=classes)).float()
kind = settings["head"]
if kind == "stored":
    trunk, head = stored(settings["checkpoint"])
    costs = {}
    if "preview" in settings:
        head = Preview(head.head, settings["preview"], settings["exact"])
else:
    trunk = Trunk(settings["convolutions"], settings["dense"])
    if kind == "plain":
        head = Plain(trunk.units)
    elif kind == "two-level":
        groups = [subset["classes"] for subset in json.load(open(settings["groups"]))["subsets"]]
        head = TwoLevel(trunk.units, groups, frequencies)
    elif kind == "mixture":
        head = Mixture(trunk.units, settings["parts"], settings["inner"])
    elif kind == "experts":
        head = Experts(trunk.units, settings["experts"], settings["between"], settings["inner"])
    costs = trained(trunk, head)
print(json.dumps(measure(trunk, head, costs)))
