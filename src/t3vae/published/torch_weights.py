"""Tensors of a file that ``torch.save`` wrote, in either format, read without running anything.

PyTorch's own reader for weights knows a few types and functions and calls no others. It does
accept what makes a small file large, or holds other things than tensors: that is refused here.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from t3vae.errors import DataError

__all__ = ["read_weights"]

_TYPES = (torch.float16, torch.float32, torch.float64, torch.int64)


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a state dictionary by name.

    Args:
        path: a file written by ``torch.save(net.state_dict(), path)``.

    Raises:
        DataError: no such file, a damaged one, or one that holds anything else than tensors
            by name; nothing of it was run.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    try:
        if content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
                    raise ValueError("it is compressed, which torch.save does not do")
        tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if not isinstance(tensors, dict):
            raise ValueError(f"it holds a {type(tensors).__name__}")
        for name, tensor in tensors.items():
            plain = type(tensor) is torch.Tensor and tensor.dtype in _TYPES
            if not plain or not tensor.is_contiguous():
                raise ValueError(f"{str(name)[:80]!r} is no plain tensor in the order of its rows")
        stores = [tensor.untyped_storage() for tensor in tensors.values()]
        if sum({store.data_ptr(): len(store) for store in stores}.values()) > len(
            content
        ):  # what is not in the file is not set to anything
            raise ValueError("its tensors are larger than the file")
        return {str(name): tensor.detach().numpy() for name, tensor in tensors.items()}
    except Exception as error:  # whatever a damaged file makes of the reader
        named = re.search(r"GLOBAL (\S+)", str(error))
        reason = re.split(r"\n|\. ", str(error))[0]  # what follows tells how to allow everything
        if not isinstance(error, ValueError):
            reason = f"{named[1]!r} is not allowed" if named else f"{type(error).__name__} {reason}"
        raise DataError(
            f"{path}: not a file of weights by torch.save ({reason}). It was not run. "
            "Fetch the file again from its source."
        ) from error
