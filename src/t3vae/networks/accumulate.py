"""Gradients that a layer adds to its parameters itself.

A layer with a large weight saves two passes over it when its backward function adds to
``weight.grad`` instead of returning a gradient for autograd to add. That is the same only
when the gradients of a backward pass are wanted there, so the caller has to say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

__all__ = ["accumulates", "into_parameters"]

_allowed = False


@contextmanager
def into_parameters() -> Iterator[None]:
    """Allow backward functions to add to the ``grad`` of parameters within a block."""
    global _allowed
    before, _allowed = _allowed, True
    try:
        yield
    finally:
        _allowed = before


def accumulates(*parameters: Tensor) -> bool:
    """Say whether a backward function may add to the ``grad`` of these parameters.

    Example:
        >>> import torch
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> weight.grad = torch.zeros(2)
        >>> with into_parameters():
        ...     accumulates(weight)
        True
    """
    return _allowed and all(p.requires_grad and p.grad is not None for p in parameters)
