"""Inception-v3 in the FID convention: the features behind numbers that are called FID.

The network is that of the original FID code (Heusel et al. 2017), ported by pytorch-fid: as
torchvision's Inception-v3 with 1008 outputs, but mean pooling leaves the border out of its
average and the last block pools by maximum. Pictures are resized bilinearly to 299 x 299
(corners not aligned) with values from -1 to 1; one channel is repeated to three.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from t3vae import files
from t3vae.errors import DataError
from t3vae.extractors import Extracted, MissingWeightsError

__all__ = ["PUBLISHED", "InceptionFeatures", "load", "missing_message"]

PUBLISHED = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth"
)
PUBLISHED_DIGEST = "6726825d"  # first digits of its SHA-256, also in its name
DIM = 2048
BLOCK = 32
PROTOCOL = (
    "2048 pool features of Inception-v3 (FID convention), bilinear resize to 299 x 299, "
    "values -1..1"
)


class _MeanWithoutBorder(nn.Module):
    """Turns a 3 x 3 mean that counts padded zeros into one that does not, then goes on."""

    def __init__(self, following: nn.Module) -> None:
        super().__init__()
        self.following = following

    def forward(self, x: Tensor) -> Tensor:
        """Return the following layer's output for the corrected mean."""
        share = functional.avg_pool2d(torch.ones_like(x[:1, :1]), 3, stride=1, padding=1)
        corrected: Tensor = self.following(x / share)
        return corrected


class _LastBlock(nn.Module):
    """The last block, with its pooled branch by maximum instead of mean."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output with the pooled branch, its last channels, replaced."""
        branch: Any = self.block.branch_pool
        pooled = branch(functional.max_pool2d(x, 3, stride=1, padding=1))
        return torch.cat([self.block(x)[:, : -pooled.shape[1]], pooled], 1)


class InceptionFeatures(nn.Module):
    """Pool features [B, 2048] of pictures [B, C, H, W] with values from 0 to 1.

    Args:
        weights: tensors by the names of the published file, or None for random ones.

    Raises:
        RuntimeError: tensors of another network.
    """

    def __init__(self, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        from torchvision.models import inception_v3

        net = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
        if weights is not None:
            net.load_state_dict(dict(weights))
        for name in ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b"):
            block: Any = getattr(net, f"Mixed_{name}")
            block.branch_pool = _MeanWithoutBorder(block.branch_pool)
        net.Mixed_7c = _LastBlock(net.Mixed_7c)
        net.transform_input = False
        net.fc = nn.Identity()
        net.dropout = nn.Identity()
        self.net = net.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        x = functional.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False)
        features: Tensor = self.net(2 * x - 1)
        return features


class _Loaded:
    """The network as an extractor."""

    protocol = PROTOCOL

    def __init__(self, net: InceptionFeatures, device: str) -> None:
        self.net, self.device = net.to(device).eval(), device

    @torch.no_grad()
    def extract(self, pictures: np.ndarray) -> Extracted:
        """Return features; this network knows no classes of the data set."""
        found = []
        for start in range(0, len(pictures), BLOCK):
            block = torch.from_numpy(np.array(pictures[start : start + BLOCK])).to(self.device)
            found.append(self.net(block.float() / 255.0).cpu().numpy())
        return Extracted(np.concatenate(found), None)


def missing_message(place: str) -> str:
    """Return what to do where the weights are not found at ``place``."""
    return (
        f"{place}: the weights of Inception-v3 are not here. Fetch {PUBLISHED} (95 MB, its "
        f"SHA-256 begins with {PUBLISHED_DIGEST}), turn it into safetensors with `python -c "
        '"import sys; from torch import load; from safetensors.torch import save_file; '
        'save_file(load(sys.argv[1], weights_only=True), sys.argv[2])" IN.pth '
        "OUT.safetensors`, and set inception.weights and inception.sha256 (of that file) in "
        "params.yaml"
    )


def load(options: Mapping[str, Any], folder: Path, device: str = "cpu") -> _Loaded:
    """Return the network with the published weights.

    Args:
        options: ``weights``, path of the safetensors file or None, and its ``sha256``.
        folder: not used.
        device: where it computes.

    Raises:
        MissingWeightsError: no path is set, or there is no such file.
        DataError: the file has another checksum or holds another network.
    """
    given = options.get("weights")
    if not given or not Path(given).is_file():
        raise MissingWeightsError(missing_message(str(given or "inception.weights")))
    path = Path(given)
    with open(path, "rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != str(options.get("sha256")).lower():
        raise DataError(
            f"{path}: its SHA-256 is {found}, but inception.sha256 is {options.get('sha256')}. "
            "Fetch the file again, or correct the parameter."
        )
    tensors = files.read_tensors(path)
    try:
        net = InceptionFeatures({k: torch.from_numpy(v.copy()) for k, v in tensors.items()})
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise DataError(f"{path}: weights of another network ({first}).") from error
    return _Loaded(net, device)
