"""Inception-v3 in the FID convention: the features behind numbers that are called FID.

The network is that of the original FID code (Heusel et al. 2017), ported by pytorch-fid: as
torchvision's Inception-v3 with 1008 outputs, but mean pooling leaves the border out of its
average and the last block pools by maximum. Images are resized bilinearly to 299 x 299
(corners not aligned) with values from -1 to 1; one channel is repeated to three.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from t3vae.errors import DataError
from t3vae.extractors import Extracted, MissingWeightsError
from t3vae.published.raw_files import RawFile, download, verify
from t3vae.published.torch_weights import read_weights

__all__ = ["PUBLISHED", "InceptionFeatures", "load", "missing_message"]

PUBLISHED = RawFile(
    "pt_inception-2015-12-05-6726825d.pth",
    95_628_359,
    {"sha256": "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"},
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
)
"""The weights of the original FID code, as pytorch-fid publishes them."""

SIDE = 299  # pixels
BLOCK = 32
PROTOCOL = (
    f"2048 pool features of Inception-v3 (FID convention), bilinear resize to {SIDE} x {SIDE}, "
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
    """Pool features [B, 2048] of images [B, C, H, W] with values from 0 to 1; an extractor.

    Args:
        weights: tensors by the names of the published file, or None for random ones.

    Raises:
        RuntimeError: tensors of another network.
    """

    protocol = PROTOCOL

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
        x = functional.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        features: Tensor = self.net(2 * x - 1)
        return features

    @torch.no_grad()
    def extract(self, images: np.ndarray) -> Extracted:
        """Return features; this network knows no classes of the data set."""
        found, device = [], next(self.parameters()).device
        for start in range(0, len(images), BLOCK):
            block = torch.from_numpy(np.array(images[start : start + BLOCK])).to(device)
            found.append(self(block.float() / 255.0).cpu().numpy())
        return Extracted(np.concatenate(found), None)


def missing_message(place: str, reason: str = "") -> str:
    """Return what to do where the weights are not found at ``place``."""
    digest = PUBLISHED.checksums["sha256"]
    return (
        f"{place}: the weights of Inception-v3 are not here. "
        + (f"They could not be downloaded: {reason}. " if reason else "")
        + f"Fetch {PUBLISHED.url} ({PUBLISHED.size} bytes, sha256 {digest}) and set "
        "inception.weights to its path and inception.sha256 to that checksum in params.yaml"
    )


def load(options: Mapping[str, Any], folder: Path, device: str = "cpu") -> InceptionFeatures:
    """Return the network with the published weights.

    Args:
        options: ``weights``, path of the published file or None, its ``sha256``, and
            ``download``, whether to fetch it where it is missing.
        folder: not used.
        device: where it computes.

    Raises:
        MissingWeightsError: no path is set, or there is no such file.
        DataError: the file has another checksum or holds another network.
    """
    given = options.get("weights")
    if not given:
        raise MissingWeightsError(missing_message("inception.weights"))
    path, reason = Path(given), ""
    if not path.is_file() and options.get("download") and path.name == PUBLISHED.name:
        reason = download([PUBLISHED], path.parent)
    if not path.is_file():
        raise MissingWeightsError(missing_message(str(path), reason))
    try:
        verify(path, None, {"sha256": str(options.get("sha256")).lower()})
    except DataError as error:
        raise DataError(f"{error} Or correct inception.sha256.") from error
    tensors = read_weights(path)
    try:
        net = InceptionFeatures({k: torch.from_numpy(v) for k, v in tensors.items()})
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise DataError(f"{path}: weights of another network ({first}).") from error
    return net.to(device).eval()
