"""Multilayer perceptrons whose forward and backward pass are one autograd node each.

Small networks on small batches spend more time in bookkeeping than in arithmetic.
:class:`MLP` is an ordinary stack of linear layers and activations, evaluated by one
function with a hand-written backward pass: activations are applied in place, and
narrow layers avoid the general matrix product where it is slower than a plain one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["MLP", "build"]

_leaky_relu_backward = torch.ops.aten.leaky_relu_backward
_tanh_backward = torch.ops.aten.tanh_backward
_NARROW = 8  # layers up to this width are memory-bound: product and sum apart are faster


def _affine(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if weight.shape[1] == 1:
        return torch.addcmul(bias, h, weight.t())
    if weight.shape[0] <= _NARROW:
        return h.mm(weight.t()).add_(bias)
    return torch.addmm(bias, h, weight.t())


class _Stack(torch.autograd.Function):
    """y = W_k a(... a(W_1 x + b_1) ...) + b_k with activation a."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: str, slope: float, *layers: Tensor) -> Tensor:
        weights, biases = layers[::2], layers[1::2]
        inputs = [x]
        h = x
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            h = _affine(h, weight, bias)
            h = h.tanh_() if activation == "tanh" else functional.leaky_relu_(h, slope)
            inputs.append(h)
        ctx.save_for_backward(*inputs, *weights)
        ctx.activation, ctx.slope = activation, slope
        return _affine(h, weights[-1], biases[-1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0]
        saved = ctx.saved_tensors
        depth = len(saved) // 2
        inputs, weights = saved[:depth], saved[depth:]
        result: list[Tensor | None] = [None] * (2 * depth)
        for layer in range(depth - 1, -1, -1):
            result[2 * layer] = gradient.t().mm(inputs[layer])
            result[2 * layer + 1] = gradient.sum(0)
            if layer > 0:
                gradient = gradient.mm(weights[layer])
                if ctx.activation == "tanh":
                    _tanh_backward.grad_input(gradient, inputs[layer], grad_input=gradient)
                else:
                    _leaky_relu_backward.grad_input(
                        gradient, inputs[layer], ctx.slope, True, grad_input=gradient
                    )
        first = gradient.mm(weights[0]) if ctx.needs_input_grad[0] else None
        return (first, None, None, *result)


class MLP(nn.Module):
    """Linear layers with LeakyReLU (or tanh) between them.

    Args:
        widths: widths from input to output, for example ``[1, 64, 64, 2]``.
        activation: ``"leaky_relu"`` or ``"tanh"``.
        negative_slope: slope of LeakyReLU below zero, greater than 0.
        output_shape: shape of one output; by default ``[widths[-1]]``.

    Shapes: input ``[B, ...]`` (flattened), output ``[B, *output_shape]``.

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
        output_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.activation = activation
        self.negative_slope = negative_slope
        self.output_shape = list(output_shape or [widths[-1]])
        self._parameters_in_order: tuple[Tensor, ...] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [B, ...] to [B, *output_shape]."""
        if self._parameters_in_order is None:
            self._parameters_in_order = tuple(self.parameters())
        x = x.flatten(1) if x.dim() > 2 else x
        y = _Stack.apply(x, self.activation, self.negative_slope, *self._parameters_in_order)
        return y if len(self.output_shape) == 1 else y.view(-1, *self.output_shape)

    def reference_forward(self, x: Tensor) -> Tensor:
        """The same map through torch's own layers; used to check :meth:`forward`."""
        h = x.flatten(1)
        for index, layer in enumerate(self.layers):
            h = layer(h)
            if index < len(self.layers) - 1:
                if self.activation == "tanh":
                    h = torch.tanh(h)
                else:
                    h = functional.leaky_relu(h, self.negative_slope)
        return h if len(self.output_shape) == 1 else h.view(-1, *self.output_shape)


def build(
    data_shape: Sequence[int],
    latent_dim: int,
    *,
    encoder_width: int,
    decoder_channels: int = 1,
    encoder_activation: str | None = None,
    hidden: Sequence[int] = (64, 64),
    negative_slope: float = 0.01,
) -> tuple[MLP, MLP]:
    """Return an encoder [B, *data_shape] -> [B, encoder_width] and its mirrored decoder.

    The decoder gives ``[B, n]`` or, with several channels, ``[B, decoder_channels * n]``.

    Example:
        >>> encoder, decoder = build([1], 1, encoder_width=2)
        >>> sum(p.numel() for p in [*encoder.parameters(), *decoder.parameters()])
        8771
    """
    data_dim = math.prod(data_shape)
    encoder = MLP(
        [data_dim, *hidden, encoder_width],
        activation=encoder_activation or "leaky_relu",
        negative_slope=negative_slope,
    )
    decoder = MLP(
        [latent_dim, *reversed(hidden), decoder_channels * data_dim],
        negative_slope=negative_slope,
    )
    return encoder, decoder
