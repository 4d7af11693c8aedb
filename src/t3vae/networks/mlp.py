"""Multilayer perceptrons whose forward and backward pass are one autograd node each.

Small networks on small batches spend more time in bookkeeping than in arithmetic.
:class:`MLP` is an ordinary stack of linear layers and activations, evaluated by one
function with a hand-written backward pass: activations are applied in place, and
narrow layers avoid the general matrix product where it is slower than a plain one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["MLP", "Features", "build"]

_leaky_relu_backward = torch.ops.aten.leaky_relu_backward
_tanh_backward = torch.ops.aten.tanh_backward
_NARROW = 8  # layers up to this width are memory-bound: product and sum apart are faster


def _affine(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if weight.shape[1] == 1:
        return torch.addcmul(bias, h, weight.t())
    if weight.shape[0] <= _NARROW:
        return weight.mm(h.t()).add_(bias.unsqueeze(1)).t()
    return h.mm(weight.t()).add_(bias)


def _evaluate(
    x: Tensor, activation: str, slope: float, layers: Sequence[Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Return the inputs of all layers and the output of the last."""
    weights, biases = layers[::2], layers[1::2]
    inputs = [x]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        h = _affine(inputs[-1], weight, bias)
        inputs.append(h.tanh_() if activation == "tanh" else functional.leaky_relu_(h, slope))
    return inputs, _affine(inputs[-1], weights[-1], biases[-1])


def _differentiate(
    gradient: Tensor,
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    activation: str,
    slope: float,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Give index, gradient of the output and input of every layer, last layer first."""
    for index in range(len(inputs) - 1, -1, -1):
        h = inputs[index]
        yield index, gradient, h
        if index > 0:
            gradient = gradient.mm(weights[index])
            if activation == "tanh":
                _tanh_backward.grad_input(gradient, h, grad_input=gradient)
            else:
                _leaky_relu_backward.grad_input(gradient, h, slope, True, grad_input=gradient)


class _Stack(torch.autograd.Function):
    """y = W_k a(... a(W_1 x + b_1) ...) + b_k with activation a."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: str, slope: float, *layers: Tensor) -> Tensor:
        inputs, y = _evaluate(x, activation, slope, layers)
        ctx.save_for_backward(*inputs, *layers[::2])
        ctx.activation, ctx.slope = activation, slope
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        inputs, weights = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        result: list[Tensor | None] = [None] * len(saved)
        gradient = gradients[0]
        steps = _differentiate(gradient, inputs, weights, ctx.activation, ctx.slope)
        for index, gradient, h in steps:
            result[2 * index], result[2 * index + 1] = gradient.t().mm(h), gradient.sum(0)
        first = gradient.mm(weights[0]) if ctx.needs_input_grad[0] else None
        return (first, None, None, *result)


def _grad(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


class MLP(nn.Module):
    """Linear layers with LeakyReLU (or tanh) between them.

    Args:
        widths: widths from input to output, for example ``[1, 64, 64, 2]``.
        activation: ``"leaky_relu"`` or ``"tanh"``.
        negative_slope: slope of LeakyReLU below zero, greater than 0.

    Shapes: input ``[B, ...]`` (flattened), output ``[B, widths[-1]]``.

    Example:
        >>> MLP([1, 64, 64, 2])(torch.zeros(5, 1)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: str = "leaky_relu",
        negative_slope: float = 0.01,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.activation = activation
        self.negative_slope = negative_slope
        self._parameters_in_order: tuple[Tensor, ...] | None = None

    def tensors(self) -> tuple[Tensor, ...]:
        """Return weight and bias of every layer, in order."""
        if self._parameters_in_order is None:
            self._parameters_in_order = tuple(self.parameters())
        return self._parameters_in_order

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [B, ...] to [B, widths[-1]]."""
        x = x.flatten(1) if x.dim() > 2 else x
        y: Tensor = _Stack.apply(x, self.activation, self.negative_slope, *self.tensors())
        return y

    @torch.no_grad()
    def record(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the output [B, width] for ``x`` [B, n] and what :meth:`accumulate` needs."""
        inputs, y = _evaluate(x, self.activation, self.negative_slope, self.tensors())
        return y, inputs

    @torch.no_grad()
    def accumulate(self, gradient: Tensor, inputs: list[Tensor]) -> Tensor:
        """Add gradients to the ``grad`` of every parameter that asks for one, without autograd.

        Args:
            gradient: of a loss with respect to the output of :meth:`record`, [B, width].
            inputs: second result of :meth:`record`.

        Returns:
            The gradient with respect to the values of the first layer.
        """
        layers = self.tensors()
        slope = gradient
        steps = _differentiate(gradient, inputs, layers[::2], self.activation, self.negative_slope)
        for index, slope, h in steps:
            weight, bias = layers[2 * index], layers[2 * index + 1]
            if weight.requires_grad:
                _grad(weight).addmm_(slope.t(), h)
            if bias.requires_grad:
                _grad(bias).add_(slope.sum(0))
        return slope


class Features(MLP):
    """A perceptron whose last layer is followed by an activation too.

    Attributes:
        width: number of features.
    """

    def __init__(self, widths: Sequence[int], **options: Any) -> None:
        super().__init__(widths, **options)
        self.width = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [B, ...] to [B, width]."""
        h = super().forward(x)
        if self.activation == "tanh":
            return torch.tanh(h)
        return functional.leaky_relu(h, self.negative_slope)


def build(
    data_shape: Sequence[int],
    latent_dim: int,
    *,
    encoder_width: int | None,
    decoder_channels: int = 1,
    encoder_activation: str | None = None,
    hidden: Sequence[int] = (64, 64),
    negative_slope: float = 0.01,
) -> tuple[MLP, MLP]:
    """Return an encoder [B, *data_shape] -> [B, encoder_width] and its mirrored decoder.

    With ``encoder_width`` None the encoder gives its last hidden layer. The decoder gives
    ``[B, n]`` or, with several channels, ``[B, decoder_channels * n]``.

    Example:
        >>> encoder, decoder = build([1], 1, encoder_width=2)
        >>> sum(p.numel() for p in [*encoder.parameters(), *decoder.parameters()])
        8771
    """
    data_dim = math.prod(data_shape)
    body = Features if encoder_width is None else MLP
    encoder = body(
        [data_dim, *hidden, *([] if encoder_width is None else [encoder_width])],
        activation=encoder_activation or "leaky_relu",
        negative_slope=negative_slope,
    )
    decoder = MLP(
        [latent_dim, *reversed(hidden), decoder_channels * data_dim],
        negative_slope=negative_slope,
    )
    return encoder, decoder
