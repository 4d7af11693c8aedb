"""All randomness comes from (root seed, stream name, index).

A stream is a name such as ``"train/noise"``; an index counts within it (an epoch, a
step). Two streams never share numbers, and the draw at an index does not depend on
what was drawn before, so that an interrupted run continues with the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["derive", "numpy_generator", "set_torch_seed", "torch_stream"]


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


def set_torch_seed(root: int, stream: str, index: int = 0) -> None:
    """Seed torch's global generators (CPU, and CUDA where it is in use) for one draw."""
    import torch

    seed = derive(root, stream, index)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


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
    import torch

    with torch.random.fork_rng():
        set_torch_seed(root, stream, index)
        yield
