"""The convolutional encoder and decoder of the image experiments (Kim et al. 2024).

Encoder: blocks of a strided convolution, batch normalisation and ReLU, each halving the
image, then one linear layer. Decoder: a linear layer with ReLU, the same maps in reverse
through transposed convolutions, one more convolution and a logistic function, so that
decoder means lie in [0, 1]. Maps are channels-last throughout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from t3vae.errors import ConfigError
from t3vae.networks.taps import Conv, ConvTranspose

__all__ = ["Decoder", "Encoder", "build", "map_sizes"]

CHANNELS = (128, 256, 512, 1024, 2048)

Size = tuple[int, int]


def map_sizes(height: int, width: int, blocks: int) -> list[Size]:
    """Return the sizes of the maps, the image first; a map of one pixel is the last.

    Example:
        >>> map_sizes(28, 28, 5)
        [(28, 28), (14, 14), (7, 7), (4, 4), (2, 2), (1, 1)]
        >>> map_sizes(8, 8, 5)
        [(8, 8), (4, 4), (2, 2), (1, 1)]
    """
    sizes = [(height, width)]
    while len(sizes) <= blocks and max(sizes[-1]) > 1:
        above, across = sizes[-1]
        sizes.append(((above + 1) // 2, (across + 1) // 2))
    return sizes


class _Norm(nn.BatchNorm2d):
    """Batch normalisation whose running statistics ignore batches with one value a channel."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(x)


def _block(layer: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(layer, _Norm(channels), nn.ReLU(inplace=True))


class Encoder(nn.Module):
    """Blocks of convolutions, then a linear layer; without one it gives its features.

    Args:
        data_shape: channels, height, width.
        channels: channels after each block.
        outputs: numbers given for one image; None gives the features of the last block.

    Attributes:
        width: numbers given for one image.

    Shapes: ``[B, *data_shape]`` to ``[B, width]``.

    Example:
        >>> Encoder([3, 32, 32], [4, 8, 16], outputs=10)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self, data_shape: Sequence[int], channels: Sequence[int], *, outputs: int | None
    ) -> None:
        super().__init__()
        inputs, height, width = data_shape
        sizes = map_sizes(height, width, len(channels))
        used = channels[: len(sizes) - 1]
        pairs = zip([inputs, *used[:-1]], used, strict=True)
        self.blocks = nn.Sequential(*(_block(Conv(a, b), b) for a, b in pairs))
        features = used[-1] * math.prod(sizes[-1])
        self.head = nn.Identity() if outputs is None else nn.Linear(features, outputs)
        self.width = features if outputs is None else outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map images [B, C, H, W] to [B, width]."""
        maps = self.blocks(x.contiguous(memory_format=torch.channels_last))
        given: Tensor = self.head(maps.permute(0, 2, 3, 1).flatten(1))
        return given


class Decoder(nn.Module):
    """A linear layer, blocks of transposed convolutions, a last convolution.

    Args:
        data_shape: channels, height, width.
        channels: channels of the encoder's blocks, from the image inwards.
        latent_dim: latent dimension m.
        factor: numbers given for each data dimension; the first lies in [0, 1].

    Shapes: ``[B, m]`` to ``[B, factor * n]``.

    Example:
        >>> Decoder([1, 8, 8], [4, 8, 16], latent_dim=2)(torch.zeros(3, 2)).shape
        torch.Size([3, 64])
    """

    def __init__(
        self,
        data_shape: Sequence[int],
        channels: Sequence[int],
        *,
        latent_dim: int,
        factor: int = 1,
    ) -> None:
        super().__init__()
        self.outputs, height, width = data_shape
        sizes = map_sizes(height, width, len(channels))[::-1]
        used = channels[: len(sizes) - 1][::-1]
        self.start = (*sizes[0], used[0])
        self.entry = nn.Linear(latent_dim, math.prod(self.start))
        steps = zip(used, [*used[1:], used[-1]], sizes[1:], strict=True)
        self.blocks = nn.Sequential(
            *(_block(ConvTranspose(a, b, stride=2, size=size), b) for a, b, size in steps)
        )
        self.last = ConvTranspose(used[-1], factor * self.outputs, stride=1, size=sizes[-1])

    def forward(self, z: Tensor) -> Tensor:
        """Map latent points [B, m] to images, flat, in [0, 1]."""
        maps = torch.relu_(self.entry(z)).reshape(-1, *self.start).permute(0, 3, 1, 2)
        given: Tensor = self.last(self.blocks(maps))
        given = given if z.dtype == torch.float64 else given.float()
        if given.shape[1] == self.outputs:
            return torch.sigmoid(given).flatten(1)
        mean = torch.sigmoid(given[:, : self.outputs])
        return torch.cat([mean, given[:, self.outputs :]], 1).flatten(1)


def build(
    data_shape: Sequence[int],
    latent_dim: int,
    *,
    encoder_width: int | None,
    decoder_channels: int = 1,
    encoder_activation: str | None = None,
    channels: Sequence[int] = CHANNELS,
    width: float = 1.0,
) -> tuple[Encoder, Decoder]:
    """Return an encoder [B, C, H, W] -> [B, encoder_width] and its mirrored decoder.

    There is a block for each entry of ``channels``, fewer where the image is small enough
    to be one pixel earlier. ``encoder_activation`` is for multilayer perceptrons.

    Args:
        data_shape: channels, height, width.
        latent_dim: latent dimension m, of the decoder's input.
        encoder_width: numbers for one image, or None for the features of the last block.
        decoder_channels: numbers that the decoder gives for each data dimension.
        channels: channels after each block.
        width: factor of all of them.

    Raises:
        ConfigError: the data are no images.

    Example:
        >>> encoder, decoder = build([3, 32, 32], 64, encoder_width=128)
        >>> sum(p.numel() for p in [*encoder.parameters(), *decoder.parameters()])
        50702851
    """
    if len(data_shape) != 3 or max(data_shape[1:]) < 2:
        raise ConfigError(
            f"network kind 'cnn' for data of shape {list(data_shape)}: needs images "
            "[channels, height, width] of at least 2 pixels. Use a network of kind 'mlp'."
        )
    counts = [max(1, round(width * count)) for count in channels]
    return (
        Encoder(data_shape, counts, outputs=encoder_width),
        Decoder(data_shape, counts, latent_dim=latent_dim, factor=decoder_channels),
    )
