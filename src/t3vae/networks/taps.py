"""Convolutions computed tap by tap, as matrix products on the pixels inside the image.

A convolution with a kernel of three on a small map mostly meets the zeros around the
image: from a map of 2x2 to one of 1x1 only four of nine taps ever see a pixel. Here every
tap is one matrix product over the pixels that it sees, which gives the same function and
gradients, and which for small maps and many channels is far faster than a convolution.
Tensors are channels-last, so that the pixels of a tap are rows of a matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from t3vae.networks.accumulate import accumulates, current

__all__ = ["Conv", "ConvTranspose", "Tap", "seen"]

_KERNEL = 3
# Largest side of the smaller map up to which matrix products are used. On accelerators only
# maps of one pixel, where the library's convolution multiplies five taps by zero.
_LARGEST_SIDE = {"cpu": 4}
_NARROW = 12  # a last layer with up to this many outputs: one product for all its taps

Pixels = tuple[slice, slice]


class Tap(NamedTuple):
    """A tap of the kernel and the pixels that it connects, as rows and columns of two maps."""

    row: int
    column: int
    large: Pixels
    small: Pixels


@lru_cache(maxsize=256)
def seen(large: tuple[int, int], small: tuple[int, int], stride: int) -> tuple[Tap, ...]:
    """Return the taps that see a pixel, for a kernel of three and a padding of one.

    Row ``o`` of the small map and row ``stride * o - 1 + a`` of the large map meet in row
    ``a`` of the kernel.

    Args:
        large: height and width before the convolution (after the transposed one).
        small: height and width on its other side.
        stride: 1 or 2.

    Example:
        >>> len(seen((2, 2), (1, 1), 2))
        4
    """
    rows, columns = (_axis(*sides, stride) for sides in zip(large, small, strict=True))
    return tuple(
        Tap(a, b, (many_rows, many_columns), (few_rows, few_columns))
        for a, many_rows, few_rows in rows
        for b, many_columns, few_columns in columns
    )


def _axis(large: int, small: int, stride: int) -> list[tuple[int, slice, slice]]:
    found = []
    for a in range(_KERNEL):
        inside = [o for o in range(small) if 0 <= stride * o - 1 + a < large]
        if inside:
            first, last = inside[0], inside[-1]
            many = slice(stride * first - 1 + a, stride * last + a, stride)
            found.append((a, many, slice(first, last + 1)))
    return found


class _Taps(torch.autograd.Function):
    """y[to] = bias + sum over taps of x[from] W[tap], for pixels [B, H, W, C].

    W[tap] is ``weight[:, :, row, column]``, turned round where ``turned``. The products are
    taken in the type of ``x``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        turned: bool,
        size: tuple[int, int],
        taps: Sequence[tuple[int, int, Pixels, Pixels]],
    ) -> Tensor:
        used = weight.to(x.dtype)
        ctx.save_for_backward(x, weight, used, bias)
        ctx.turned, ctx.taps, ctx.step = turned, taps, current()
        y = bias.to(x.dtype).expand(len(x), *size, -1).contiguous()
        for a, b, source, target in taps:
            matrix = used[:, :, a, b]
            _add(y, target, _rows(x, source).mm(matrix.t() if turned else matrix))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, used, bias = ctx.saved_tensors
        y, turned = gradients[0], ctx.turned
        x_gradient = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        in_place = accumulates(ctx.step, weight, bias)
        w_gradient = weight.grad if in_place else torch.zeros_like(weight)
        for a, b, source, target in ctx.taps:
            seen_x, seen_y = _rows(x, source), _rows(y, target)
            left, right = (seen_y, seen_x) if turned else (seen_x, seen_y)
            part = w_gradient[:, :, a, b]
            if part.dtype == x.dtype:
                part.addmm_(left.t(), right)
            else:
                part += left.t().mm(right)
            if x_gradient is not None:
                matrix = used[:, :, a, b]
                _add(x_gradient, source, seen_y.mm(matrix if turned else matrix.t()))
        b_gradient = y.sum((0, 1, 2), dtype=bias.dtype)
        if in_place:
            bias.grad += b_gradient
            return x_gradient, None, None, None, None, None
        return x_gradient, w_gradient, b_gradient, None, None, None


class _NarrowTaps(torch.autograd.Function):
    """A transposed convolution with few outputs: one product for all taps, then shifted sums."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, taps: Sequence[Tap]) -> Tensor:
        channels, outputs = weight.shape[:2]
        matrix = weight.permute(0, 2, 3, 1).reshape(channels, -1).to(x.dtype)
        parts = x.reshape(-1, channels).mm(matrix)
        parts = parts.view(*x.shape[:3], _KERNEL, _KERNEL, outputs)
        y = bias.expand(*x.shape[:3], -1).contiguous()
        for tap in taps:
            y[:, *tap.large] += parts[:, *tap.small, tap.row, tap.column]
        ctx.save_for_backward(x, matrix)
        ctx.taps = taps
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, matrix = ctx.saved_tensors
        y = gradients[0]
        channels = x.shape[-1]
        parts = x.new_zeros(*x.shape[:3], _KERNEL, _KERNEL, y.shape[-1])
        for tap in ctx.taps:
            parts[:, *tap.small, tap.row, tap.column] = y[:, *tap.large]
        flat = parts.view(-1, matrix.shape[1])
        w_gradient = x.reshape(-1, channels).t().mm(flat).view(channels, _KERNEL, _KERNEL, -1)
        x_gradient = flat.mm(matrix.t()).view(x.shape)
        return x_gradient, w_gradient.permute(0, 3, 1, 2).to(y.dtype), y.sum((0, 1, 2)), None


def _rows(x: Tensor, pixels: Pixels) -> Tensor:
    """Return the chosen pixels as a matrix [pixels, channels]."""
    return x[:, *pixels].reshape(-1, x.shape[-1])


def _add(y: Tensor, pixels: Pixels, values: Tensor) -> None:
    part = y[:, *pixels]
    part += values.view(part.shape)


def _small(side: int, x: Tensor) -> bool:
    return side <= _LARGEST_SIDE.get(x.device.type, 1)


def _pixels(x: Tensor) -> Tensor:
    """Return pixels [B, H, W, C], in the type that autocast asks for."""
    pixels = x.permute(0, 2, 3, 1)
    if torch.is_autocast_enabled(x.device.type):
        return pixels.to(torch.get_autocast_dtype(x.device.type))
    return pixels


def _channels_last(layer: Any) -> None:
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)


class Conv(nn.Conv2d):
    """The convolution with a kernel of three, a stride of two and a padding of one.

    Args:
        inputs, outputs: channels.

    Shapes: ``[B, C, H, W]`` to ``[B, C', (H + 1) // 2, (W + 1) // 2]``, channels-last.

    Example:
        >>> layer, x = Conv(3, 4), torch.randn(2, 3, 2, 2)
        >>> torch.allclose(layer(x), nn.Conv2d.forward(layer, x), atol=1e-6)
        True
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, _KERNEL, stride=2, padding=1)
        _channels_last(self)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution, by matrix products where the map is small."""
        large = (x.shape[-2], x.shape[-1])
        small = ((large[0] + 1) // 2, (large[1] + 1) // 2)
        if not _small(max(small), x):
            return super().forward(x)
        taps = [(t.row, t.column, t.large, t.small) for t in seen(large, small, 2)]
        y: Tensor = _Taps.apply(_pixels(x), self.weight, self.bias, True, small, taps)
        return y.permute(0, 3, 1, 2)


class ConvTranspose(nn.ConvTranspose2d):
    """The transposed convolution with a kernel of three and a padding of one.

    Args:
        inputs, outputs: channels.
        stride: 1 or 2.
        size: height and width of the output.

    Shapes: ``[B, C, h, w]`` to ``[B, C', *size]``, channels-last.

    Example:
        >>> layer, x = ConvTranspose(3, 4, stride=2, size=(2, 2)), torch.randn(2, 3, 1, 1)
        >>> plain = nn.functional.conv_transpose2d(x, layer.weight, layer.bias, 2, 1, 1)
        >>> torch.allclose(layer(x), plain, atol=1e-6)
        True
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, size: tuple[int, int]) -> None:
        # a side of 2k comes from k, and needs one more row than 2(k - 1) + 1
        extra = ((size[0] - 1) % stride, (size[1] - 1) % stride)
        super().__init__(inputs, outputs, _KERNEL, stride=stride, padding=1, output_padding=extra)
        _channels_last(self)
        self.size = size

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Apply the transposed convolution, by matrix products where that is faster."""
        small, stride = (x.shape[-2], x.shape[-1]), self.stride[0]
        narrow = stride == 1 and self.out_channels <= _NARROW and x.device.type == "cpu"
        if not narrow and not _small(max(small), x):
            return super().forward(x)
        taps = seen(self.size, small, stride)
        if narrow:
            y: Tensor = _NarrowTaps.apply(_pixels(x), self.weight, self.bias, taps)
        else:
            ends = [(t.row, t.column, t.small, t.large) for t in taps]
            y = _Taps.apply(_pixels(x), self.weight, self.bias, False, self.size, ends)
        return y.permute(0, 3, 1, 2)
