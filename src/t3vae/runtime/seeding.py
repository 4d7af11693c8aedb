"""All randomness comes from (root seed, stream name, index).

A stream is a name such as ``"train/noise"``; an index counts within it (an epoch, a
step). Two streams never share numbers, and the draw at an index does not depend on
what was drawn before, so that an interrupted run continues with the same numbers.

What this package draws with torch comes, within :func:`own_generators`, from generators of
the thread that draws, so that trainings in several threads give the numbers that they give one
after another, and torch's global generators stay as they are. The numbers are those that the
global generators would give. Code that can only draw from the global generators (the
initialisation of a layer, dropout, a custom model) runs in :func:`global_generators`, one thread
at a time.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = [
    "derive",
    "generator",
    "global_generators",
    "numpy_generator",
    "own_generators",
    "own_stream",
    "set_torch_seed",
    "torch_stream",
]


class _OfThread(threading.local):
    """Generators of this thread by device, and their seed; None outside a block."""

    generators: dict[Any, torch.Generator] | None = None
    seed = 0


_here = _OfThread()
_one_at_a_time = threading.RLock()


def derive(root: int, stream: str, index: int = 0) -> int:
    """Return the 63-bit seed of one draw.

    Args:
        root: root seed of the run or data set.
        stream: name of the stream.
        index: position within the stream.

    Example:
        >>> derive(0, "train/noise", 1) == derive(0, "train/noise", 1)
        True
        >>> derive(0, "train/noise", 1) == derive(0, "train/noise", 2)
        False
    """
    text = f"{int(root)}/{stream}/{int(index)}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def numpy_generator(root: int, stream: str, index: int = 0) -> np.random.Generator:
    """Return a NumPy generator for one draw.

    Example:
        >>> numpy_generator(0, "data").integers(10) == numpy_generator(0, "data").integers(10)
        np.True_
    """
    import numpy as np

    return np.random.default_rng(derive(root, stream, index))


def generator(device: torch.device) -> torch.Generator | None:
    """Return the generator of this thread for a device; None stands for torch's global one.

    Args:
        device: where the numbers are drawn.
    """
    generators = _here.generators
    if generators is None:
        return None
    found = generators.get(device)
    if found is None:
        import torch

        found = generators[device] = torch.Generator(device)
        found.manual_seed(_here.seed)
    return found


def set_torch_seed(root: int, stream: str, index: int = 0) -> None:
    """Seed this thread's generators, or the global ones within :func:`global_generators`.

    Outside both blocks these are the global ones, too.
    """
    seed = derive(root, stream, index)
    if _here.generators is not None:
        _here.seed = seed
        for each in _here.generators.values():
            each.manual_seed(seed)
        return
    import torch

    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def own_generators() -> Iterator[None]:
    """Draw from generators of this thread within a block."""
    before = _here.generators, _here.seed
    _here.generators = {}
    try:
        yield
    finally:
        _here.generators, _here.seed = before


@contextmanager
def global_generators() -> Iterator[None]:
    """Draw from torch's global generators within a block, and restore them after it.

    Only one thread at a time is in such a block; another waits. A thread that draws from the
    global generators outside all blocks disturbs them: torch has one for all threads.
    """
    import torch

    with _one_at_a_time:
        devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
        before, _here.generators = _here.generators, None
        try:
            with torch.random.fork_rng(devices):
                yield
        finally:
            _here.generators = before


@contextmanager
def own_stream(root: int, stream: str, index: int = 0) -> Iterator[None]:
    """Draw the numbers of one stream from generators of this thread within a block.

    Example:
        >>> import torch
        >>> with own_stream(0, "example"):
        ...     a = torch.randn(1, generator=generator(torch.device("cpu")))
        >>> with torch_stream(0, "example"):
        ...     b = torch.randn(1)
        >>> bool(a == b)
        True
    """
    with own_generators():
        set_torch_seed(root, stream, index)
        yield


@contextmanager
def torch_stream(root: int, stream: str, index: int = 0) -> Iterator[None]:
    """Seed torch's global generators within a block, and restore them after it.

    Example:
        >>> import torch
        >>> with torch_stream(0, "example"):
        ...     a = torch.randn(1)
        >>> with torch_stream(0, "example"):
        ...     b = torch.randn(1)
        >>> bool(a == b)
        True
    """
    with global_generators():
        set_torch_seed(root, stream, index)
        yield
