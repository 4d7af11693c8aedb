"""Atomic writes and checked reads of the file formats of the contracts.

A write goes to a temporary name in the same folder, is flushed to the disk and then
renamed, so that a reader sees the old file or the new one, never a part. Formats are
JSON, NumPy ``.npy``, CSV text and safetensors; nothing is ever unpickled. A safetensors
file carries a checksum of its tensors and header, so that damage is never read as a number.
What a killed process left behind is removed when the same file is written again.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t3vae.errors import DataError

try:
    import fcntl
except ImportError:  # a platform without these locks keeps its leftovers
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "atomic",
    "cannot_read",
    "cannot_write",
    "native",
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

_METADATA, _CHECKSUM = "__metadata__", "checksum"
_LARGEST_HEADER = 100_000_000


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    Raises:
        DataError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        raise DataError(cannot_write(path, error)) from error
    try:
        if fcntl is None:
            os.close(handle)  # there an open file cannot be replaced
        else:
            with suppress(OSError):  # a file system without locks keeps its leftovers
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield temporary
        with open(temporary, "r+b") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(cannot_write(path, error)) from error
    finally:
        if fcntl is not None:
            os.close(handle)
        temporary.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files whose writer was killed: those that nobody holds."""
    pattern = f".{glob.escape(path.name)}.*.part"
    for leftover in path.parent.glob(pattern) if fcntl is not None else ():
        with suppress(OSError):
            handle = os.open(leftover, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
            finally:
                os.close(handle)


def cannot_write(path: Path, error: OSError) -> str:
    """Say that the system refuses to write a file."""
    return (
        f"{path}: cannot be written ({error.strerror or error}). "
        "Check the rights and the free space of the folder, then run again."
    )


def cannot_read(path: Path | str, error: OSError) -> str:
    """Say that the system refuses to read a file or folder, which may well be sound.

    Example:
        >>> cannot_read("a.zip", PermissionError(13, "Permission denied"))
        'a.zip: cannot be read (Permission denied). Check the file and its rights.'
    """
    return f"{path}: cannot be read ({error.strerror or error}). Check the file and its rights."


def native(text: str) -> str:
    """Return a path that was read as UTF-8 text in the spelling that this process opens.

    They differ where the locale is not UTF-8: there Python takes other bytes for text.

    Example:
        >>> native("data/raw")
        'data/raw'
    """
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically.

    Raises:
        DataError: it holds half a character, as a name that is not UTF-8 leaves it.
    """
    try:
        encoded = content.encode("utf-8")
    except UnicodeEncodeError as error:
        part = content[max(error.start - 20, 0) : error.end]
        raise DataError(f"{path}: {part!a} is not UTF-8 text; nothing written") from error
    write_bytes(path, encoded)


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


@contextmanager
def _reading(path: Path, damage: str, step: str = "the step that makes it") -> Iterator[None]:
    """Say of a file that is missing or damaged which one it is and how to have it again."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Run {step} first.") from error
    except OSError as error:  # a missing right, a folder, a disk that fails: no damage
        raise DataError(cannot_read(path, error)) from error
    except Exception as error:  # whatever a damaged file makes of a reader
        raise DataError(f"{path}: {damage} ({error}). Delete it to remake it.") from error


def read_json(path: Path) -> Any:
    """Read strict JSON (no NaN, no infinity).

    Raises:
        DataError: the file is missing or is not JSON.
    """

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is not allowed")

    with _reading(path, "not readable as JSON"):
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)


def write_npy(path: Path, array: np.ndarray) -> None:
    """Write one array as ``.npy`` (never an object array)."""
    import numpy as np

    array = np.asarray(array, order="C")
    if array.dtype.hasobject:
        raise DataError(f"{path}: an array of objects is never written")
    header = np.lib.format.header_data_from_array_1_0(array)
    with atomic(path) as temporary, open(temporary, "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        # not by NumPy, which takes a full disk for success when little is written
        stream.write(array.reshape(-1).view(np.uint8).data)


def read_npy(path: Path) -> np.ndarray:
    """Read one ``.npy`` array, memory-mapped and read-only.

    Raises:
        DataError: the file is missing, cut, or holds objects.
    """
    import numpy as np

    with _reading(path, "damaged array file", "`t3vae prepare`"):
        return np.lib.format.open_memmap(path, mode="r")


def write_tensors(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
    *,
    finite: bool = True,
) -> None:
    """Write named arrays as safetensors with a checksum; ``metadata`` goes into the header.

    Raises:
        DataError: a floating-point array holds a value that is not finite, and ``finite``.
    """
    import numpy as np
    from safetensors.numpy import save

    arrays = {name: np.asarray(array, order="C") for name, array in sorted(tensors.items())}
    for name, array in arrays.items() if finite else ():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"{path}: tensor {name!r} holds values that are not finite")
    header, body = _parts(save(arrays))
    header[_METADATA] = dict(metadata or {})
    header[_METADATA][_CHECKSUM] = _checksum(header, body)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    with atomic(path) as temporary, open(temporary, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.write(body)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a file written by :func:`write_tensors`.

    Raises:
        DataError: the file is missing, damaged anywhere, or has no checksum.
    """
    from safetensors.numpy import load

    with _reading(path, "damaged tensor file"):
        content = Path(path).read_bytes()
        arrays = load(content)
        header, body = _parts(content)
        if header[_METADATA].pop(_CHECKSUM) != _checksum(header, body):
            raise ValueError("checksum mismatch")
        return arrays


def read_tensors_header(path: Path) -> dict[str, str]:
    """Read the metadata in the header of a safetensors file, without its tensors.

    Raises:
        DataError: the file is missing or damaged.
    """
    with _reading(path, "damaged tensor file"), open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= _LARGEST_HEADER:
            raise ValueError(f"header length {length}")
        metadata = json.loads(stream.read(length)).get(_METADATA, {})
        return {str(key): str(value) for key, value in metadata.items() if key != _CHECKSUM}


def _parts(content: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return the header and the tensors' bytes of a safetensors file."""
    start = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:start]), memoryview(content)[start:]


def _checksum(header: Mapping[str, Any], body: memoryview) -> str:
    """Return the SHA-256 of tensors and header; the order of the header's keys is free."""
    result = hashlib.sha256(body)
    result.update(json.dumps(header, sort_keys=True).encode("ascii"))
    return result.hexdigest()
