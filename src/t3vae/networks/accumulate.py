"""Gradients that a layer adds to its parameters itself.

A layer with a large weight saves two passes over it when its backward function adds to
``weight.grad`` instead of returning a gradient for autograd to add. That is the same only
when the gradients of a backward pass are wanted there, so the caller has to say so. A layer
notes in its forward function for whom it computes: its backward function may run in another
thread, beside the training of another model.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

__all__ = ["Step", "accumulates", "current", "training_step"]


class Step:
    """One training step.

    Attributes:
        into_parameters: whether backward functions may add to the ``grad`` of parameters.
    """

    into_parameters = False


class _OfThread(threading.local):
    step: Step | None = None


_here = _OfThread()


@contextmanager
def training_step() -> Iterator[Step]:
    """Let layers note within a block for which step they compute."""
    before, _here.step = _here.step, Step()
    try:
        yield _here.step
    finally:
        _here.step = before


def current() -> Step | None:
    """Return the step of this thread, for a forward function to note."""
    return _here.step


def accumulates(step: Step | None, *parameters: Tensor) -> bool:
    """Say whether a backward function may add to the ``grad`` of these parameters.

    Args:
        step: what :func:`current` gave in the forward function.
        parameters: the parameters.

    Example:
        >>> import torch
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> weight.grad = torch.zeros(2)
        >>> with training_step() as step:
        ...     step.into_parameters = True
        ...     accumulates(current(), weight)
        True
    """
    return (
        step is not None
        and step.into_parameters
        and all(p.requires_grad and p.grad is not None for p in parameters)
    )
