"""Files by name, in a folder or in a zip archive, without unpacking it.

A name is text with ``/`` between folders, in Unicode's composed form (NFC), however a disk or
the program that packed an archive spells it: macOS writes decomposed names, Windows
backslashes, others ``./`` in front. Bytes that are no UTF-8 stay in it as lone surrogates.
Members of an archive are read by name into memory, so that no path in it can lead anywhere.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from t3vae.errors import DataError
from t3vae.runtime.files import cannot_read

__all__ = ["FolderShelf", "Found", "Shelf", "ZipShelf", "listing", "open_shelf"]

MEMBER_LIMIT = 2**28
DEPTH = 4
HIDDEN = ("Thumbs.db", "desktop.ini", "__MACOSX")


class Found(NamedTuple):
    """What stands under a name in a folder.

    Attributes:
        name: relative name, as the bytes on the disk.
        kind: a regular file; a folder; a folder below the deepest that is read; or something
            that is not opened (a pipe, a socket, a device, a link to nothing).
        status: what :func:`os.stat` says of a file.
    """

    name: bytes
    kind: Literal["file", "folder", "deep", "other"]
    status: os.stat_result | None = None


def listing(path: Path, depth: int = DEPTH, prefix: bytes = b"") -> Iterator[Found]:
    """Yield what a folder holds, in no order; hidden files and folders do not count.

    Args:
        path: the folder.
        depth: levels of folders that are read.
        prefix: name of a folder in it, with ``/`` at its end, to begin with.

    Raises:
        OSError: it cannot be read.
    """
    with os.scandir(path / os.fsdecode(prefix)) as entries:
        here = [entry for entry in entries if not _hidden(entry.name)]
    for entry in here:
        name = prefix + os.fsencode(entry.name)
        if entry.is_dir():
            yield Found(name, "folder" if depth > 1 else "deep")
            if depth > 1:
                yield from listing(path, depth - 1, name + b"/")
        elif entry.is_file():
            yield Found(name, "file", entry.stat())
        else:
            yield Found(name, "other")


class FolderShelf:
    """Files in a folder by their relative names; hidden files do not count.

    Args:
        path: the folder.

    Attributes:
        names: relative names of the files, sorted.
        folders: relative names of the folders, sorted.

    Raises:
        DataError: the folder cannot be read, is nested too deep, or holds what is no file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            found = sorted(listing(path))
        except OSError as error:
            raise DataError(cannot_read(error.filename or path, error)) from error
        self._spelled: dict[str, bytes] = {}
        files: list[tuple[str, bytes]] = []
        folders = set()
        for entry in found:
            name = _composed(entry.name)
            if entry.kind == "deep":
                raise DataError(f"{self._at(entry.name)}: nested too deep for a data set.")
            if entry.kind == "other":
                raise DataError(
                    f"{self._at(entry.name)}: not a file that can be read (a pipe, a socket, a "
                    "device or a link to nothing). Remove it."
                )
            if "\\" in name:
                raise DataError(
                    f"{self._at(entry.name)}: a backslash in the name, as an archive made on "
                    "Windows leaves it. Name the archive itself, or unpack it again with a "
                    "program that makes folders of the names."
                )
            self._spelled.setdefault(name, entry.name)
            if entry.kind == "folder":
                folders.add(name)
            else:
                files.append((name, entry.name))
        self.names = _each_once(files, str(path))
        self.folders = sorted(folders)

    def _at(self, name: bytes) -> str:
        return f"{self.path}/{_readable(name)}"

    def where(self, name: str) -> str:
        """Return the name of a file for messages."""
        return self._at(self._spelled.get(name, name.encode("utf-8", "surrogateescape")))

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            DataError: it cannot be read, or is too large for an image.
        """
        try:
            with open(self.path / os.fsdecode(self._spelled[name]), "rb") as stream:
                content = stream.read(MEMBER_LIMIT + 1)
        except OSError as error:
            raise DataError(cannot_read(self.where(name), error)) from error
        if len(content) > MEMBER_LIMIT:
            raise DataError(f"{self.where(name)}: more than {MEMBER_LIMIT} bytes. Remove it.")
        return content


class ZipShelf:
    """Files in a zip archive by their names; a folder around everything is left out.

    Args:
        path: the archive.

    Attributes:
        names: names of the files, sorted.
        folders: names of the folders, sorted.

    Raises:
        DataError: the archive cannot be read, is cut or damaged, or names a file outside itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except OSError as error:
            raise DataError(cannot_read(path, error)) from error
        except Exception as error:  # whatever a damaged archive makes of the reader
            raise DataError(
                f"{path}: a cut or damaged archive ({error}). Pack or fetch it again."
            ) from error
        files: list[tuple[str, bytes]] = []
        folders: set[str] = set()
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in self._archive.infolist():
            given = _text(info)
            parts, is_folder = _parts(given)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if ".." in parts:
                raise DataError(
                    f"{path}: {given!r} leads out of the archive. Pack or fetch it again."
                )
            if not parts or any(_hidden(part) for part in parts):
                continue
            folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
            name = "/".join(parts)
            if is_folder or kind == stat.S_IFDIR:
                folders.add(name)
                continue
            if kind not in (0, stat.S_IFREG):
                raise DataError(f"{path}: {given!r} is a link or a device, not a file. Remove it.")
            files.append((name, given.encode("utf-8", "surrogateescape")))
            self._members[name] = info
        names = _each_once(files, str(path))
        tops = {name.partition("/")[0] for name in (*names, *folders)}
        self._prefix = f"{tops.pop()}/" if len(tops) == 1 and not tops & {"train", *names} else ""
        strip = len(self._prefix)
        self.names = [name[strip:] for name in names]
        self.folders = sorted(name[strip:] for name in folders if name[strip:])

    def where(self, name: str) -> str:
        """Return the name of a file for messages."""
        info = self._members.get(self._prefix + name)
        shown = self._prefix + name if info is None else _text(info)
        return f"{self.path}: {_readable(shown.encode('utf-8', 'surrogateescape'))}"

    def read(self, name: str) -> bytes:
        """Return the content of a file after checking its CRC.

        Raises:
            DataError: the member is damaged, encrypted or not there.
        """
        try:
            info = self._members[self._prefix + name]
            if info.file_size > MEMBER_LIMIT:
                raise ValueError(f"{info.file_size} bytes are too many")
            return self._archive.read(info)
        except (NotImplementedError, RuntimeError) as error:  # a method, or encryption
            raise DataError(
                f"{self.where(name)}: cannot be unpacked ({error}). Pack it again, without a "
                "password."
            ) from error
        except Exception as error:  # whatever a damaged archive makes of the reader
            raise DataError(f"{self.where(name)}: damaged ({error}). Fetch it again.") from error


Shelf = FolderShelf | ZipShelf
"""A folder or a zip archive."""


def open_shelf(path: Path, hint: str = "") -> Shelf:
    """Return the files of a folder or of a zip archive by their names.

    Args:
        path: the folder or archive.
        hint: what to do when there is none.

    Raises:
        DataError: there is no such folder or archive, it may not be read, or it is damaged.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind == stat.S_IFDIR:
            return FolderShelf(path)
        if kind == stat.S_IFREG:
            with open(path, "rb") as stream:
                packed = zipfile.is_zipfile(stream)
            if packed or path.suffix.lower() == ".zip":
                return ZipShelf(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path}: no such folder or zip archive. {hint}".rstrip()) from error
    except OSError as error:
        raise DataError(cannot_read(path, error)) from error
    raise DataError(f"{path}: neither a folder nor a zip archive. Unpack it and name the folder.")


# --- names --------------------------------------------------------------------------------


def _hidden(name: str) -> bool:
    return name in HIDDEN or (name.startswith(".") and name != "..")


def _composed(name: bytes) -> str:
    return unicodedata.normalize("NFC", name.decode("utf-8", "surrogateescape"))


def _readable(name: bytes) -> str:
    r"""Return a name for messages: bytes that are no UTF-8 as ``\xe9``."""
    return name.decode("utf-8", "backslashreplace")


def _text(info: zipfile.ZipInfo) -> str:
    """Return the name of a member; macOS writes UTF-8 without saying so."""
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            return info.filename.encode("cp437").decode("utf-8")
    return info.filename


def _parts(name: str) -> tuple[list[str], bool]:
    r"""Return the parts of a member's name, and whether it is a folder.

    As unpacking programs do: a backslash divides, and a drive or ``/`` in front is left out.

    Example:
        >>> _parts("C:\\pets\\.\\cat\\1.png")
        (['pets', 'cat', '1.png'], False)
    """
    name = re.sub(r"^[A-Za-z]:(?=/)", "", name.replace("\\", "/"))
    parts = [_composed(p.encode("utf-8", "surrogateescape")) for p in name.split("/")]
    return [part for part in parts if part not in ("", ".")], name.endswith(("/", "/."))


def _each_once(files: Iterable[tuple[str, bytes]], place: str) -> list[str]:
    """Return the names, sorted.

    Raises:
        DataError: two files have the same name, spelled alike or not.
    """
    seen: dict[str, bytes] = {}
    for name, given in files:
        if seen.get(name) == given:
            raise DataError(
                f"{place}: {_readable(given)}: there twice. Pack or fetch the archive again."
            )
        if name in seen:
            first, second = sorted([seen[name], given])
            try:
                differ = f"{first.decode()!a} and {second.decode()!a}"
            except UnicodeDecodeError:
                differ = f"{first!a} and {second!a}"
            raise DataError(
                f"{place}: {_readable(name.encode('utf-8', 'surrogateescape'))}: there twice, "
                f"spelled {differ}, which are the same name (in Unicode's form NFC, with / between "
                "folders). Rename or remove one."
            )
        seen[name] = given
    return sorted(seen)
