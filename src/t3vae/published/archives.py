"""Archives from elsewhere: some files of them are read, without trust, and nothing is written.

A tar or zip file may name files outside its folder, hold links or devices, or grow to any
size; each of these is refused. Pickles in them are read by :mod:`t3vae.published.pickles`.
"""

from __future__ import annotations

import gzip
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from t3vae.errors import DataError
from t3vae.runtime.files import cannot_read

__all__ = ["read_members"]

_BLOCK = 1 << 16
_RATIO = 200  # bytes unpacked for each byte of the archive
_TOO_LARGE = "it grows beyond the limit when it is unpacked"


def read_members(
    path: Path, names: Iterable[str], *, files: int = 1_000_000, size: int = 20_000_000_000
) -> dict[str, bytes]:
    """Return the bytes of some files of a tar, tar.gz or zip file; nothing is written.

    Args:
        path: the archive.
        names: full names within the archive.
        files: largest number of entries.
        size: largest number of bytes of all files together.

    Raises:
        DataError: the archive is damaged, unsafe or too large, or lacks a file.
    """
    path, wanted = Path(path), list(names)
    found: dict[str, bytes] = {}
    known: set[str] = set()
    try:
        with open(path, "rb") as file:
            most = min(size, _RATIO * max(path.stat().st_size, 1024))
            start = file.read(2)
            file.seek(0)
            for given, plain, opener in (_of_zip if start == b"PK" else _of_tar)(file, most):
                name = _checked(given)
                if name in known:
                    raise ValueError(f"{given[:80]!r} is there twice")
                known.add(name)
                if len(known) > files:
                    raise ValueError(f"it has more than {files} entries")
                if not plain:
                    raise ValueError(f"{given!r} is a link, a device, encrypted or no plain file")
                if name in wanted:
                    with opener() as stream:
                        found[name] = b"".join(iter(partial(stream.read, _BLOCK), b""))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Fetch the archive first.") from error
    except PermissionError as error:
        raise DataError(cannot_read(path, error)) from error
    except Exception as error:  # whatever a damaged archive makes of the reader
        raise DataError(
            f"{path}: cannot be unpacked ({error}). Nothing was kept; fetch the archive again."
        ) from error
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise DataError(f"{path}: holds no file {', '.join(lacking)}. Fetch the archive again.")
    return found


def _of_tar(file: Any, most: int) -> Iterator[tuple[str, bool, Any]]:
    """Yield name, whether it is a folder or a plain file, and what opens it, of each entry."""
    compressed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    stream: Any = _Bounded(gzip.GzipFile(fileobj=file) if compressed else file, most)
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for member in archive:
            plain = (member.isdir() or member.isreg()) and not member.issparse()
            yield member.name, plain, partial(archive.extractfile, member)
    if stream.last != bytes(tarfile.BLOCKSIZE):  # the reader stops at a damaged header
        raise ValueError("it is cut, or a header is damaged")
    while stream.read(_BLOCK):  # to the end, where gzip has its checksum
        pass


def _of_zip(file: IO[bytes], most: int) -> Iterator[tuple[str, bool, Any]]:
    """As :func:`_of_tar`; no more is read of an entry than the size that it says it has."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            most -= member.file_size
            if most < 0:
                raise ValueError(_TOO_LARGE)
            usual = stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG)
            plain = member.is_dir() or (usual and not member.flag_bits & 1)
            yield member.filename, plain, partial(archive.open, member)


def _checked(name: str) -> str:
    """Return the name of an entry as a path below the folder."""
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or not path.parts
    if outside or len(name) > 1000 or re.search(r"[\x00-\x1f\\:]", name):
        raise ValueError(f"{name[:80]!r} is not a name below its folder")
    return str(path)


class _Bounded:
    """An unpacked tar file up to a limit; ``last`` is what was read last."""

    def __init__(self, stream: Any, limit: int) -> None:
        self._stream, self._limit, self.last = stream, limit, b""
        self.tell = stream.tell

    def seek(self, place: int) -> Any:
        if place > self._limit:
            raise ValueError(_TOO_LARGE)
        return self._stream.seek(place)

    def read(self, size: int) -> Any:
        if size > _BLOCK:  # only a header is asked for as a whole
            raise ValueError("a header of the archive is too long")
        self.last = self._stream.read(size)
        if self.tell() > self._limit:
            raise ValueError(_TOO_LARGE)
        return self.last
