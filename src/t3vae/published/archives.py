"""Archives from elsewhere: unpacked without trust, and never by running what they hold.

A tar or zip file may name files outside its folder, hold links or devices, or grow to any
size; each of these is refused. Pickles in them are read by :mod:`t3vae.published.pickles`.
"""

from __future__ import annotations

import gzip
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from t3vae.errors import DataError

__all__ = ["Limits", "extract", "read_members"]

_BLOCK = 1 << 20
_LONGEST_NAME = 1 << 16
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    OverflowError,
    MemoryError,
    RuntimeError,
    NotImplementedError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Limits:
    """How large an archive may become.

    Attributes:
        files: number of entries.
        size: bytes of all files together.
        ratio: bytes unpacked for each byte of the archive.
    """

    files: int = 1_000_000
    size: int = 20_000_000_000
    ratio: float = 200.0


def extract(path: Path, folder: Path, *, limits: Limits | None = None) -> list[Path]:
    """Unpack a tar, tar.gz or zip file into a new folder, all of it or nothing.

    Args:
        path: the archive.
        folder: folder to make; it must not exist yet.
        limits: how large it may become.

    Returns:
        The files, sorted.

    Raises:
        DataError: the archive is damaged, unsafe or too large, or cannot be written.
    """
    path, folder = Path(path), Path(folder)
    if folder.exists():
        raise DataError(f"{folder}: exists already. Remove it to unpack {path.name} again.")
    with _told(path):
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        with _told(path):
            for name, stream in _members(path, limits or Limits()):
                target = place / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "xb") as out:
                    shutil.copyfileobj(stream, out, _BLOCK)
            place.chmod(0o755)
            place.replace(folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return sorted(found for found in folder.rglob("*") if found.is_file())


def read_members(
    path: Path, names: Iterable[str], *, limits: Limits | None = None
) -> dict[str, bytes]:
    """Return the bytes of some files of a tar, tar.gz or zip file; nothing is written.

    Args:
        path: the archive.
        names: full names within the archive.
        limits: how large it may become.

    Raises:
        DataError: the archive is damaged, unsafe or too large, or lacks a file.
    """
    path, wanted = Path(path), list(names)
    found: dict[str, bytes] = {}
    with _told(path):
        for name, stream in _members(path, limits or Limits()):
            if str(name) in wanted:
                found[str(name)] = stream.read()
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise DataError(f"{path}: holds no file {', '.join(lacking)}. Fetch the archive again.")
    return found


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what readers raise on a bad archive into one message."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Fetch the archive first.") from error
    except _DAMAGE as error:
        raise DataError(
            f"{path}: cannot be unpacked ({error}). Nothing was kept; fetch the archive again."
        ) from error


def _members(path: Path, limits: Limits) -> Iterator[tuple[PurePosixPath, Any]]:
    """Yield name and stream of every file, checked; streams count what they give."""
    with open(path, "rb") as file:
        start = file.read(4)
    budget = _Budget(limits, path.stat().st_size)
    if start[:2] == b"PK":
        with zipfile.ZipFile(path) as archive:
            yield from _zip_members(archive, budget)
    elif start[:2] == b"\x1f\x8b":
        with gzip.open(path) as stream:
            yield from _tar_members(budget.counted(stream), budget)
    else:
        with open(path, "rb") as stream:
            yield from _tar_members(budget.counted(stream), budget)


def _tar_members(stream: Any, budget: _Budget) -> Iterator[tuple[PurePosixPath, Any]]:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Strict) as archive:
        for member in archive:
            name = budget.enter(member.name)
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise ValueError(f"{member.name!r} is a link, a device or no plain file")
            yield name, archive.extractfile(member)
    while stream.read(_BLOCK):  # to the end, where gzip has its checksum
        pass


def _zip_members(archive: zipfile.ZipFile, budget: _Budget) -> Iterator[tuple[PurePosixPath, Any]]:
    for member in archive.infolist():
        name = budget.enter(member.filename)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if member.is_dir():
            continue
        if kind not in (0, stat.S_IFREG) or member.flag_bits & 1:
            raise ValueError(f"{member.filename!r} is a link, a device, encrypted or no plain file")
        with archive.open(member) as stream:
            yield name, budget.counted(stream)


class _Strict(tarfile.TarInfo):
    """Refuses damaged headers, which would end the reading, and long ones, read as a whole."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Any:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the regular end
                raise
            raise ValueError(str(error)) from error

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        plain = (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE)
        if self.type not in plain and self.size > _LONGEST_NAME:
            raise ValueError("a header of the archive is too long")
        return super()._proc_member(archive)  # type: ignore[misc]


class _Budget:
    """Counts entries and bytes of one archive, and checks names."""

    def __init__(self, limits: Limits, compressed: int) -> None:
        self.limits = limits
        self.left = min(limits.size, int(limits.ratio * max(compressed, 1024)))
        self.names: set[str] = set()

    def enter(self, name: str) -> PurePosixPath:
        """Return the name of an entry as a path below the folder."""
        if len(self.names) >= self.limits.files:
            raise ValueError(f"it has more than {self.limits.files} entries")
        path = PurePosixPath(name)
        bad = path.is_absolute() or ".." in path.parts or len(name) > 1000
        if bad or not path.parts or re.search(r"[\x00-\x1f\\:]", name):
            raise ValueError(f"{name[:80]!r} is not a name below its folder")
        if str(path) in self.names:
            raise ValueError(f"{name[:80]!r} is there twice")
        self.names.add(str(path))
        return path

    def counted(self, stream: Any) -> _Counted:
        return _Counted(stream, self.spend)

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise ValueError("it grows beyond the limit when it is unpacked")


class _Counted:
    """A stream that tells how many bytes it gave; it is never read as a whole at once."""

    def __init__(self, stream: Any, spend: Callable[[int], None]) -> None:
        self._stream, self._spend = stream, spend

    def read(self, size: int = -1) -> bytes:
        parts = []
        while size != 0:
            part = self._stream.read(min(size, _BLOCK) if size > 0 else _BLOCK)
            self._spend(len(part))
            if not part:
                break
            parts.append(part)
            size -= len(part) if size > 0 else 0
        return b"".join(parts)
