"""Encoders and decoders: maps between arrays, without any probability.

A network description is a mapping with a ``kind``; each kind is a module of this
package with a function ``build``. The modules are loaded by name, so that a run
depends only on the network it uses.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from t3vae.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["DEFAULT", "KINDS", "build"]

KINDS = {"mlp": "t3vae.networks.mlp"}
DEFAULT: dict[str, Any] = {"kind": "mlp", "hidden": [64, 64], "negative_slope": 0.01}


def build(
    network: Mapping[str, Any] | None,
    data_shape: Sequence[int],
    latent_dim: int,
    *,
    encoder_width: int,
    decoder_channels: int = 1,
    encoder_activation: str | None = None,
) -> tuple[nn.Module, nn.Module]:
    """Return an encoder and a decoder sized from the data.

    Args:
        network: description with its ``kind``, for example
            ``{"kind": "mlp", "hidden": [64, 64], "negative_slope": 0.01}``.
        data_shape: shape of one data point.
        latent_dim: latent dimension m.
        encoder_width: numbers that the encoder gives for one data point (2m for a mean
            and a log-variance).
        decoder_channels: numbers that the decoder gives for each data dimension.
        encoder_activation: overrides the activation of the encoder (``"tanh"``).

    Raises:
        ConfigError: the kind is unknown.
    """
    description = dict(network or DEFAULT)
    kind = description.pop("kind", None)
    if kind not in KINDS:
        raise ConfigError(f"network kind {kind!r}: must be one of {sorted(KINDS)}.")
    module = importlib.import_module(KINDS[kind])
    return module.build(
        data_shape,
        latent_dim,
        encoder_width=encoder_width,
        decoder_channels=decoder_channels,
        encoder_activation=encoder_activation,
        **description,
    )
