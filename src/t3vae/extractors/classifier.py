"""The offline extractor: a small convolutional classifier of the data set's own classes.

It is trained on all training images, before any long tail is cut, so that its features
know the rare classes as well as the frequent ones. Its numbers are comparable within one
data set and extractor only, and are never called FID.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from t3vae.errors import DataError, DivergedError
from t3vae.extractors import Extracted
from t3vae.runtime import files, seeding
from t3vae.runtime.progress import bar

__all__ = ["FILE", "Classifier", "Data", "accuracy", "load", "save", "train"]

FILE = "extractor.safetensors"
BLOCK = 512
CHANNELS_MOST = 8  # times the width


class Data(NamedTuple):
    """Images uint8 [N, C, H, W] with their classes [N] or attributes [N, A]."""

    images: np.ndarray
    targets: np.ndarray

    @property
    def outputs(self) -> int:
        """Number of classes, or of attributes."""
        many = self.targets.ndim == 2
        return int(self.targets.shape[1] if many else self.targets.max() + 1)


class Classifier(nn.Module):
    """Convolutions down to 4 x 4 pixels, a mean over them, one hidden layer of features.

    Args:
        data_shape: channels, height and width.
        outputs: classes or attributes.
        width: channels of the first layer; they double with each halving of the image.
        features: units of the hidden layer.

    Example:
        >>> Classifier([3, 32, 32], 10, width=8, features=64)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, data_shape: Sequence[int], outputs: int, *, width: int, features: int
    ) -> None:
        super().__init__()
        channels, height, width_px = (int(size) for size in data_shape)
        self.description = {
            "data_shape": [channels, height, width_px],
            "outputs": int(outputs),
            "width": int(width),
            "features": int(features),
        }
        layers: list[nn.Module] = []
        now = channels
        halvings = max(1, math.ceil(math.log2(max(min(height, width_px), 8) / 4)))
        for step in range(halvings):
            inner = width * min(2**step, CHANNELS_MOST)
            outer = width * min(2 ** (step + 1), CHANNELS_MOST)
            layers += _layer(now, inner, 1) + _layer(inner, outer, 2)
            now = outer
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.hidden = nn.Linear(4 * now, features)
        self.head = nn.Linear(features, outputs)
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("scale", torch.ones(channels, 1, 1))

    def embed(self, x: Tensor) -> Tensor:
        """Return the features [B, f] of images [B, C, H, W] with values from 0 to 1."""
        return functional.relu(self.hidden(self.body((x - self.mean) / self.scale)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [B, outputs]."""
        logits: Tensor = self.head(self.embed(x))
        return logits


def _layer(inner: int, outer: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outer), nn.ReLU()]


def train(
    data: Data,
    settings: Mapping[str, Any],
    *,
    flip: bool = False,
    device: str = "cpu",
    label: str = "extractor",
) -> Classifier:
    """Return a classifier trained on the data; the same bytes for the same seed and machine.

    Args:
        data: all training images.
        settings: width, features, epochs, batch_size, learning_rate, weight_decay, seed.
        flip: mirror half of the images, other ones in every epoch.
        device: where to train.
        label: name in front of the progress bar.

    Raises:
        DivergedError: the loss became infinite or not a number.
    """
    seed, size = settings["seed"], settings["batch_size"]
    with seeding.torch_stream(seed, "extractor/initialisation"):
        net = Classifier(
            data.images.shape[1:],
            data.outputs,
            width=settings["width"],
            features=settings["features"],
        )
    flat = data.images.reshape(len(data.images), data.images.shape[1], -1)
    net.mean.copy_(torch.from_numpy(flat.mean((0, 2)) / 255.0)[:, None, None])
    net.scale.copy_(torch.from_numpy(flat.std((0, 2)) / 255.0 + 1e-3)[:, None, None])
    net.to(device)
    images = torch.from_numpy(np.array(data.images)).to(device)
    targets = torch.from_numpy(np.array(data.targets)).to(device)
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"]
    )
    steps = math.ceil(len(images) / size) * settings["epochs"]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=settings["learning_rate"], total_steps=max(steps, 2), pct_start=0.2
    )
    net.train()
    with bar(settings["epochs"], label, unit="epoch") as progress:
        for epoch in range(settings["epochs"]):
            with seeding.torch_stream(seed, "extractor/epoch", epoch):
                order = torch.randperm(len(images)).to(device)
                mirrored = (torch.rand(len(images)) < 0.5).to(device) if flip else None
            total = torch.zeros((), device=device)
            for rows in order.split(size):
                x = images[rows].float() / 255.0
                if mirrored is not None:
                    x = torch.where(mirrored[rows, None, None, None], x.flip(-1), x)
                loss = _loss(net(x), targets[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.detach() * len(rows)
            if not bool(torch.isfinite(total)):
                raise DivergedError(
                    f"{label}: the loss is not finite in epoch {epoch + 1}. "
                    f"Try a smaller learning_rate (now {settings['learning_rate']:g})."
                )
            progress.update(1)
    net.eval()
    return net


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    if targets.dim() == 2:
        return functional.binary_cross_entropy_with_logits(logits, targets.float())
    return functional.cross_entropy(logits, targets)


@torch.no_grad()
def _run(net: Classifier, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return features [N, f] and logits [N, K], float32."""
    device = next(net.parameters()).device
    features, logits = [], []
    for start in range(0, len(images), BLOCK):
        block = torch.from_numpy(np.array(images[start : start + BLOCK])).to(device)
        embedded = net.embed(block.float() / 255.0)
        features.append(embedded.cpu().numpy())
        logits.append(net.head(embedded).cpu().numpy())
    return np.concatenate(features), np.concatenate(logits)


def accuracy(net: Classifier, data: Data) -> dict[str, Any]:
    """Return the share of right answers, overall and for each class or attribute."""
    logits = _run(net, data.images)[1]
    if data.targets.ndim == 2:
        right = (logits > 0) == (data.targets > 0)
        each = right.mean(0)
    else:
        right = logits.argmax(1) == data.targets
        each = [right[data.targets == k].mean() for k in np.unique(data.targets)]
    return {"all": float(right.mean()), "each": [round(float(value), 6) for value in each]}


def save(net: Classifier, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the weights; the header says what the network is built from."""
    tensors = {name: value.detach().cpu().numpy() for name, value in net.state_dict().items()}
    header = {"description": json.dumps(net.description, sort_keys=True), **metadata}
    files.write_tensors(path, tensors, header)


class _Loaded:
    """A trained classifier as an extractor."""

    def __init__(self, net: Classifier, classes: bool) -> None:
        self.net, self.classes = net, classes
        self.protocol = (
            f"{net.description['features']} features of a classifier trained on this data set, "
            "images at their own size, values 0..1 standardised"
        )

    def extract(self, images: np.ndarray) -> Extracted:
        """Return features and, where it was trained on classes, the class it sees."""
        features, logits = _run(self.net, images)
        return Extracted(features, logits.argmax(1) if self.classes else None)


def load(options: Mapping[str, Any], folder: Path, device: str = "cpu") -> _Loaded:
    """Return the classifier of a prepared data set.

    Args:
        options: nothing.
        folder: folder of the prepared data set.
        device: where it computes.

    Raises:
        DataError: it was not trained yet, or its file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise DataError(
            f"{path}: no such file. Run `t3vae extractor --dataset {Path(folder).name}` first."
        )
    header, tensors = files.read_tensors_header(path), files.read_tensors(path)
    try:
        net = Classifier(**json.loads(header["description"]))
        net.load_state_dict({name: torch.from_numpy(v.copy()) for name, v in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{path}: not the weights of a classifier ({error}). Delete it to train it again."
        ) from error
    return _Loaded(net.to(device).eval(), header.get("targets") == "classes")
