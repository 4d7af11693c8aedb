"""Encoders and decoders: maps between arrays, without any probability.

A network description is a mapping with a ``kind``: a name of the catalogue, or an import
path ``package.module:function`` of a function with the contract of :func:`build`. The
modules are loaded by name, so that a run depends only on the network it uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from t3vae.settings import catalogue
from t3vae.settings.families import NETWORKS

if TYPE_CHECKING:
    from torch import nn

__all__ = ["DEFAULT", "DEFAULT_IMAGES", "build", "default"]

DEFAULT: dict[str, Any] = {"kind": "mlp", "hidden": [64, 64], "negative_slope": 0.01}
DEFAULT_IMAGES: dict[str, Any] = {
    "kind": "cnn",
    "channels": [128, 256, 512, 1024, 2048],
    "width": 1.0,
}


def default(data_shape: Sequence[int]) -> dict[str, Any]:
    """Return the network for data of a shape: a CNN for images, else a perceptron.

    Example:
        >>> default([4])["kind"], default([3, 32, 32])["kind"]
        ('mlp', 'cnn')
    """
    return dict(DEFAULT_IMAGES if len(data_shape) == 3 else DEFAULT)


def build(
    network: Mapping[str, Any] | None,
    data_shape: Sequence[int],
    latent_dim: int,
    *,
    encoder_width: int | None,
    decoder_channels: int = 1,
    encoder_activation: str | None = None,
) -> tuple[nn.Module, nn.Module]:
    """Return an encoder and a decoder sized from the data.

    Args:
        network: description with its ``kind``, for example
            ``{"kind": "mlp", "hidden": [64, 64], "negative_slope": 0.01}``.
        data_shape: shape of one data point.
        latent_dim: latent dimension, the width of the decoder's input.
        encoder_width: numbers that the encoder gives for one data point (2m for a mean
            and a log-variance). None leaves the last linear layer to the model: the encoder
            gives features, and says how many by its attribute ``width``.
        decoder_channels: numbers that the decoder gives for each data dimension.
        encoder_activation: overrides the activation of a perceptron's encoder (``"tanh"``).

    Raises:
        ConfigError: the kind is unknown or cannot be imported.
    """
    description = dict(network or default(data_shape))
    builder = catalogue.load(NETWORKS, str(description.pop("kind", None)), "network kind")
    built: tuple[nn.Module, nn.Module] = builder(
        data_shape,
        latent_dim,
        encoder_width=encoder_width,
        decoder_channels=decoder_channels,
        encoder_activation=encoder_activation,
        **description,
    )
    return built
