"""Rows of data as a model takes them, and the number format of its networks.

Images stay bytes, in memory or on the device, until a step needs them: conversion to
[0, 1] and random flips are done there, for one batch at a time.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from t3vae.errors import ConfigError, DataError
from t3vae.models import inputs
from t3vae.models.base import Model
from t3vae.networks.mlp import MLP
from t3vae.runtime.seeding import generator

__all__ = [
    "PRECISIONS",
    "Rows",
    "exact_kernels",
    "network_precision",
    "random_flip",
]

PRECISIONS = ("float32", "bfloat16")
_BYTES_AT_ONCE = 2**24
_asking = threading.Lock()
_exact: list[Any] = []  # what takes the settings back, and an entry for each block


def random_flip(x: Tensor) -> Tensor:
    """Flip each image of ``x`` [B, C, H, W] left to right with probability one half.

    Example:
        >>> x = torch.arange(2.0).view(1, 1, 1, 2)
        >>> bool(torch.isin(random_flip(x), x).all())
        True
    """
    source = generator(x.device)
    flipped = torch.rand(len(x), 1, 1, 1, device=x.device, generator=source) < 0.5
    return torch.where(flipped, x.flip(-1), x)


@dataclass(frozen=True)
class Rows:
    """Data and, for conditional models, their labels.

    Attributes:
        x: data [N, *data_shape], in the type of the model or bytes.
        y: labels [N], or None.
        dtype: type of the model.
    """

    x: Tensor
    y: Tensor | None = None
    dtype: torch.dtype = torch.float32

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Any) -> Rows:
        return Rows(self.x[index], None if self.y is None else self.y[index], self.dtype)

    @property
    def bytes(self) -> bool:
        """Whether the data are images of bytes."""
        return self.x.dtype == torch.uint8

    def inputs(self, *, flip: bool = False) -> tuple[Tensor, ...]:
        """Return what a model's loss takes: numbers and, where there are labels, those."""
        x = random_flip(self.x) if flip else self.x
        if x.dtype != self.dtype:
            x = inputs.to_float(x, self.dtype)
        return (x,) if self.y is None else (x, self.y)

    def digest(self) -> str:
        """Return what tells these rows from any others: shapes, types and every byte in order."""
        found = hashlib.sha256()
        for tensor in (self.x, self.y):
            found.update(f"{None if tensor is None else (tensor.dtype, tensor.shape)};".encode())
            if tensor is not None:
                step = max(1, _BYTES_AT_ONCE * len(tensor) // max(1, tensor.nbytes))
                for block in tensor.split(step):
                    found.update(block.cpu().contiguous().numpy().data)
        return found.hexdigest()

    @classmethod
    def of(
        cls,
        model: Model,
        x: Any,
        y: Any = None,
        *,
        names: tuple[str, str] = ("data", "labels"),
        least: int = 1,
    ) -> Rows:
        """Check data and labels against a model and put them on its device.

        Args:
            model: the model.
            x: data; see :func:`t3vae.models.inputs.data`.
            y: labels [N], for conditional models.
            names: what messages call them.
            least: smallest N.

        Raises:
            DataError: they do not fit the model, or hold values that are not finite.
        """
        data = inputs.data(model, x, name=names[0], bytes_stay=True, least=least).detach()
        dtype = inputs.home(model)[1]
        if not model.conditional:
            return cls(data, None, dtype)
        if y is None:
            raise DataError(
                f"{type(model).__name__} is conditional: give the {names[1]} of {names[0]}."
            )
        return cls(data, inputs.labels(model, y, len(data), name=names[1]), dtype)


@contextmanager
def exact_kernels() -> Iterator[None]:
    """Let convolutions on an accelerator be repeatable, and float32 be float32, within a block.

    Without it the same seed gives other bytes each time, also after a resumed training, and
    products have ten bits of mantissa (TF32). The settings are those of the process: the first
    block of several threads makes them, and the last takes them back.
    """
    with _asking:
        if not _exact:
            _exact.append(
                torch.backends.cudnn.flags(
                    enabled=torch.backends.cudnn.enabled,
                    benchmark=False,
                    deterministic=True,
                    allow_tf32=False,
                )
            )
            _exact[0].__enter__()
        _exact.append(None)
    try:
        yield
    finally:
        with _asking:
            _exact.pop()
            if len(_exact) == 1:
                _exact.pop().__exit__(None, None, None)


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
    if inputs.home(model)[1] != torch.float32:
        raise ConfigError(
            f"precision = {precision!r}: is for models in float32. Call model.float()."
        )
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
