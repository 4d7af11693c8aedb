"""Atomic writes and checked reads of the file formats of the contracts.

A write goes to a temporary name in the same folder, is flushed to the disk and then
renamed, so that a reader sees the old file or the new one, never a part. Formats are
JSON, NumPy ``.npy``, CSV text and safetensors; nothing is ever unpickled.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t3vae.errors import DataError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "atomic",
    "read_json",
    "read_npy",
    "read_tensors",
    "read_tensors_header",
    "write_bytes",
    "write_json",
    "write_npy",
    "write_tensors",
    "write_text",
]


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    Raises:
        DataError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise DataError(_cannot_write(path, error)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(_cannot_write(path, error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _cannot_write(path: Path, error: OSError) -> str:
    return (
        f"{path}: cannot be written ({error.strerror or error}). "
        "Check the rights and the free space of the folder, then run again."
    )


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, keys sorted.

    Raises:
        DataError: a number is infinite or not a number.
    """
    try:
        text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    except ValueError as error:
        raise DataError(f"{path}: a value is infinite or not a number; nothing written") from error
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read strict JSON (no NaN, no infinity).

    Raises:
        DataError: the file is missing or is not JSON.
    """

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is not allowed")

    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Run the step that makes it first.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: not readable as JSON ({error}). Delete it to remake it."
        ) from error


def write_npy(path: Path, array: np.ndarray) -> None:
    """Write one array as ``.npy`` (never an object array)."""
    import numpy as np

    with atomic(path) as temporary, open(temporary, "wb") as stream:
        np.lib.format.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)


def read_npy(path: Path, *, mapped: bool = True) -> np.ndarray:
    """Read one ``.npy`` array, by default memory-mapped and read-only.

    Raises:
        DataError: the file is missing, cut, or holds objects.
    """
    import numpy as np

    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Run `t3vae prepare` first.") from error
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise DataError(f"{path}: damaged array file ({error}). Delete it to remake it.") from error


def write_tensors(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays as safetensors; ``metadata`` goes into the header.

    Raises:
        DataError: a floating-point array holds a value that is not finite.
    """
    import numpy as np
    from safetensors.numpy import save

    arrays = {name: np.asarray(array, order="C") for name, array in sorted(tensors.items())}
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"{path}: tensor {name!r} holds values that are not finite")
    write_bytes(path, save(arrays, metadata=dict(metadata or {})))


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a safetensors file.

    Raises:
        DataError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(Path(path).read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Run the step that makes it first.") from error
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: damaged tensor file ({error}). Delete it to remake it."
        ) from error


def read_tensors_header(path: Path) -> dict[str, str]:
    """Read the metadata in the header of a safetensors file, without its tensors.

    Raises:
        DataError: the file is missing or damaged.
    """
    limit = 100_000_000
    try:
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= limit:
                raise ValueError(f"header length {length}")
            header = json.load(io.BytesIO(stream.read(length)))
        metadata = header.get("__metadata__", {})
        return {str(key): str(value) for key, value in metadata.items()}
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Run the step that makes it first.") from error
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path}: damaged tensor file ({error}). Delete it to remake it."
        ) from error
