"""Rows of data as a model takes them, and the number format of its networks.

Images stay bytes, in memory or on the device, until a step needs them: conversion to
[0, 1] and random flips are done there, for one batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from t3vae.errors import ConfigError, DataError
from t3vae.models.base import Model
from t3vae.networks.mlp import MLP

__all__ = ["PRECISIONS", "Rows", "exact_kernels", "network_precision", "random_flip", "to_float"]

PRECISIONS = ("float32", "bfloat16")


def to_float(x: Tensor) -> Tensor:
    """Return images of bytes as numbers in [0, 1]; other data in float32 as they are.

    Example:
        >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
        tensor([0.0000, 0.2000, 1.0000])
    """
    return x.to(torch.float32).div_(255.0) if x.dtype == torch.uint8 else x.to(torch.float32)


def random_flip(x: Tensor) -> Tensor:
    """Flip each image of ``x`` [B, C, H, W] left to right with probability one half.

    Example:
        >>> x = torch.arange(2.0).view(1, 1, 1, 2)
        >>> bool(torch.isin(random_flip(x), x).all())
        True
    """
    flipped = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    return torch.where(flipped, x.flip(-1), x)


@dataclass(frozen=True)
class Rows:
    """Data and, for conditional models, their labels.

    Attributes:
        x: data [N, *data_shape], float32 or bytes.
        y: labels [N], or None.
    """

    x: Tensor
    y: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Any) -> Rows:
        return Rows(self.x[index], None if self.y is None else self.y[index])

    @property
    def bytes(self) -> bool:
        """Whether the data are images of bytes."""
        return self.x.dtype == torch.uint8

    def inputs(self, *, flip: bool = False) -> tuple[Tensor, ...]:
        """Return what a model's loss takes: numbers and, where there are labels, those."""
        x = random_flip(self.x) if flip else self.x
        if x.dtype != torch.float32:
            x = to_float(x)
        return (x,) if self.y is None else (x, self.y)

    def sums(self) -> list[float]:
        """Return numbers that tell these rows from others."""
        whole = self.x.sum(dtype=torch.int64 if self.bytes else torch.float64)
        return [float(whole), *([] if self.y is None else [float(self.y.sum())])]

    @classmethod
    def of(cls, model: Model, x: Any, y: Any = None) -> Rows:
        """Check data and labels against a model and put them on its device.

        Raises:
            DataError: they do not fit the model, or hold values that are not finite.
        """
        parameter = next(model.parameters())
        data = _data(x, model, parameter.device)
        if not model.conditional:
            return cls(data)
        if y is None:
            raise DataError(f"{type(model).__name__} is conditional: give the labels of the data.")
        labels = torch.as_tensor(y).to(parameter.device, torch.int64)
        classes = int(getattr(model, "classes", 0))
        if labels.shape != (len(data),):
            raise DataError(f"labels of shape {list(labels.shape)}: must be [{len(data)}].")
        if int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise DataError(
                f"labels {int(labels.min())}..{int(labels.max())}: must lie in 0..{classes - 1}."
            )
        return cls(data, labels)


def _data(x: Any, model: Model, device: torch.device) -> Tensor:
    tensor = torch.as_tensor(x)
    if tensor.dim() == 1:
        tensor = tensor.unsqueeze(1)
    if list(tensor.shape[1:]) != model.data_shape or len(tensor) == 0:
        raise DataError(
            f"data of shape {list(tensor.shape)}: must be "
            f"[N, {', '.join(map(str, model.data_shape))}]"
            " with N at least 1, as the model was built for."
        )
    if tensor.dtype == torch.uint8 and len(model.data_shape) == 3:
        return tensor.to(device).contiguous()
    tensor = tensor.to(device=device, dtype=torch.float32)
    if not bool(torch.isfinite(tensor.sum())) and not bool(torch.isfinite(tensor).all()):
        rows = (~torch.isfinite(tensor.flatten(1))).any(1).nonzero().flatten()[:3].tolist()
        raise DataError(
            f"data: rows {rows} hold values that are not finite. Remove or repair them."
        )
    return tensor.contiguous()


@contextmanager
def exact_kernels() -> Iterator[None]:
    """Let convolutions on an accelerator be repeatable, and float32 be float32, within a block.

    Without it the same seed gives other bytes each time, also after a resumed training, and
    products have ten bits of mantissa (TF32).
    """
    with torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled,
        benchmark=False,
        deterministic=True,
        allow_tf32=False,
    ):
        yield


@contextmanager
def network_precision(model: Model, precision: str) -> Iterator[None]:
    """Let encoder and decoder compute in ``bfloat16`` within a block; the rest stays float32.

    Args:
        model: the model; its weights stay float32.
        precision: ``float32`` or ``bfloat16``.

    Raises:
        ConfigError: the precision is unknown, or the networks cannot use it.
    """
    if precision == "float32":
        yield
        return
    networks = (model.encoder, model.decoder)
    if precision not in PRECISIONS:
        raise ConfigError(f"precision = {precision!r}: must be one of {', '.join(PRECISIONS)}.")
    if any(isinstance(network, MLP) for network in networks):
        raise ConfigError("precision = 'bfloat16': is for networks of kind cnn. Use float32.")
    device = next(model.parameters()).device.type
    for network in networks:
        network.forward = _reduced(network.forward, device)
    try:
        yield
    finally:
        for network in networks:
            del network.forward


def _reduced(forward: Any, device: str) -> Any:
    def run(x: Tensor) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            given: Tensor = forward(x)
        return given.float()

    return run
