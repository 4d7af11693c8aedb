"""Files by name, in a folder or in a zip archive, without unpacking it.

Members of an archive are read by name into memory, so that no path in it can lead anywhere.
"""

from __future__ import annotations

import os
import zipfile
from itertools import pairwise
from pathlib import Path

from t3vae.errors import DataError
from t3vae.published.raw_files import unreadable

__all__ = ["FolderShelf", "Shelf", "ZipShelf", "open_shelf"]

MEMBER_LIMIT = 2**28
DEPTH = 4
HIDDEN = ("Thumbs.db", "desktop.ini", "__MACOSX")


class FolderShelf:
    """Files in a folder by their relative names; hidden files do not count.

    Args:
        path: the folder.

    Attributes:
        names: relative names of the files, sorted.
        folders: relative names of the folders, sorted.

    Raises:
        DataError: the folder cannot be read or is nested too deep.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        names: list[str] = []
        folders: list[str] = []
        self._list("", names, folders, DEPTH)
        self.names, self.folders = sorted(names), sorted(folders)

    def _list(self, prefix: str, names: list[str], folders: list[str], depth: int) -> None:
        if depth == 0:
            raise DataError(f"{self.path / prefix}: folders are nested too deep for a data set.")
        try:
            with os.scandir(self.path / prefix) as entries:
                found = [(entry.name, entry.is_dir()) for entry in entries]
        except OSError as error:
            raise DataError(unreadable(self.path / prefix, error)) from error
        for name, is_folder in found:
            if _hidden(name):
                continue
            relative = f"{prefix}{name}"
            if is_folder:
                folders.append(relative)
                self._list(f"{relative}/", names, folders, depth - 1)
            else:
                names.append(relative)

    def where(self, name: str) -> str:
        """Return the name of a file for messages."""
        return str(self.path / name)

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            DataError: it cannot be read.
        """
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise DataError(unreadable(self.path / name, error)) from error


class ZipShelf:
    """Files in a zip archive by their names; a folder around everything is left out.

    Args:
        path: the archive.

    Attributes:
        names: names of the files, sorted.
        folders: names of the folders, sorted.

    Raises:
        DataError: the archive is cut or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except Exception as error:  # whatever a damaged archive makes of the reader
            raise DataError(
                f"{path}: a cut or damaged archive ({error}). Delete it and fetch it again."
            ) from error
        names: list[str] = []
        folders: set[str] = set()
        for name in self._archive.namelist():
            parts = name.rstrip("/").split("/")
            if any(_hidden(part) for part in parts):
                continue
            folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
            (folders.add if name.endswith("/") else names.append)("/".join(parts))
        tops = {name.partition("/")[0] for name in (*names, *folders)}
        self._prefix = f"{tops.pop()}/" if len(tops) == 1 and not tops & {"train", *names} else ""
        strip = len(self._prefix)
        self.names = sorted(name[strip:] for name in names)
        for first, second in pairwise(self.names):
            if first == second:
                raise DataError(f"{self.where(first)}: there twice. Fetch the archive again.")
        self.folders = sorted(name[strip:] for name in folders if name[strip:])

    def where(self, name: str) -> str:
        """Return the name of a file for messages."""
        return f"{self.path}: {self._prefix}{name}"

    def read(self, name: str) -> bytes:
        """Return the content of a file after checking its CRC.

        Raises:
            DataError: the member is damaged, encrypted or not there.
        """
        try:
            info = self._archive.getinfo(self._prefix + name)
            if info.file_size > MEMBER_LIMIT:
                raise ValueError(f"{info.file_size} bytes are too many")
            return self._archive.read(info)
        except Exception as error:  # whatever a damaged archive makes of the reader
            raise DataError(f"{self.where(name)}: damaged ({error}). Fetch it again.") from error


Shelf = FolderShelf | ZipShelf
"""A folder or a zip archive."""


def open_shelf(path: Path) -> Shelf:
    """Return the files of a folder or of a zip archive by their names.

    Raises:
        DataError: there is no such folder or archive, or it is damaged.
    """
    if path.is_dir():
        return FolderShelf(path)
    if path.is_file():
        if zipfile.is_zipfile(path) or path.suffix.lower() == ".zip":
            return ZipShelf(path)
        raise DataError(
            f"{path}: neither a folder nor a zip archive. Unpack it and name the folder."
        )
    raise DataError(f"{path}: no such folder or zip archive.")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in HIDDEN
