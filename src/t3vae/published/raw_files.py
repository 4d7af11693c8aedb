"""Raw files of published data sets: found where the user put them, or downloaded, and checked."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from t3vae.errors import DataError
from t3vae.runtime.files import cannot_read, native

__all__ = ["RawFile", "download", "folder_of", "locate", "missing_message", "verify"]

BLOCK = 2**20
TIMEOUT = 20.0


class RawFile(NamedTuple):
    """One published file.

    Attributes:
        name: file name.
        size: bytes.
        checksums: checksum by algorithm.
        url: where it is published.
        drive: its id on Google Drive, for files that are published there.
    """

    name: str
    size: int
    checksums: Mapping[str, str]
    url: str
    drive: str | None = None


def folder_of(config: Mapping[str, Any], root: Path) -> Path:
    """Return the folder (or archive) that the data set names; relative to the root folder.

    Raises:
        DataError: it starts with ``~`` and there is no such home.
    """
    try:
        return Path(root) / Path(native(config["folder"])).expanduser()
    except RuntimeError as error:
        raise DataError(
            f"datasets.{config['dataset']}.folder = {config['folder']}: {error} "
            "Give the whole path."
        ) from error


def locate(
    files: Sequence[RawFile], config: Mapping[str, Any], root: Path
) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Return path and description (size, checksums) of each file, by name.

    What is not in the folder is downloaded with torchvision, when ``download`` says so.

    Args:
        files: what is needed.
        config: the data set's configuration, with ``dataset``, ``folder`` and ``download``.
        root: folder that a relative folder starts from.

    Raises:
        DataError: a file is missing, cut, damaged or another one.
    """
    folder = folder_of(config, root)
    if folder.is_file() and len(files) == 1:
        paths = {files[0].name: folder}
    else:
        paths = {file.name: folder / file.name for file in files}
        missing = [file for file in files if not paths[file.name].is_file()]
        reason = ""
        if missing and config["download"]:
            reason = download(missing, folder)
            missing = [file for file in missing if not paths[file.name].is_file()]
        if missing:
            raise DataError(missing_message(missing, config, folder, reason))
    sums = {file.name: verify(paths[file.name], file.size, file.checksums) for file in files}
    return {
        file.name: (paths[file.name], {"bytes": file.size, **sums[file.name]}) for file in files
    }


def missing_message(
    missing: Sequence[RawFile], config: Mapping[str, Any], folder: Path, reason: str = ""
) -> str:
    """Say which files to put where, with sizes, checksums and the parameter that moves them."""
    lines = [f"{folder}: {len(missing)} file(s) of the data set `{config['dataset']}` are missing."]
    if reason:
        lines.append(f"They could not be downloaded: {reason}.")
    lines.append("Put there:")
    for file in missing:
        sums = ", ".join(f"{name} {digits}" for name, digits in file.checksums.items())
        lines.append(f"  {file.name}  {file.size} bytes, {sums}, from {file.url}")
    lines.append(f"or name another folder with datasets.{config['dataset']}.folder in params.yaml.")
    return "\n".join(lines)


def download(files: Sequence[RawFile], folder: Path) -> str:
    """Download files with torchvision; return why it did not work, or nothing.

    Args:
        files: what to fetch; nothing appears under its name before it is whole.
        folder: where to put it; made if need be.
    """
    try:
        from torchvision.datasets import utils
    except ImportError as error:
        return f"torchvision cannot be imported ({error})"
    if any(file.drive for file in files) and find_spec("gdown") is None:
        return "they are on Google Drive, which needs gdown: pip install 't3vae[celeba]'"
    made, patience = not folder.exists(), socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(TIMEOUT)  # of connections that do not answer
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
            for file in files:
                place = (temporary, file.name, file.checksums.get("md5"))
                if file.drive is not None:
                    utils.download_file_from_google_drive(file.drive, *place)
                else:
                    utils.download_url(file.url, *place)
                os.replace(Path(temporary) / file.name, folder / file.name)
    except Exception as error:  # whatever a network, a server or a library raises
        return str(error).strip().rstrip(".") or type(error).__name__
    finally:
        socket.setdefaulttimeout(patience)
        if made and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return ""


def verify(path: Path, size: int | None, expected: Mapping[str, str]) -> dict[str, str]:
    """Check size and checksums of a file and return the checksums.

    Args:
        path: the file.
        size: bytes that it must have; None for any.
        expected: checksum in hexadecimal digits by algorithm, as :mod:`hashlib` names them.

    Raises:
        DataError: the file is cut, is another file, or cannot be read.
    """
    states = {name: hashlib.new(name, usedforsecurity=False) for name in expected}
    try:
        given = path.stat().st_size
        if size is not None and given != size:
            kind = "cut" if given < size else "another file"
            raise DataError(
                f"{path}: has {given} bytes instead of {size}, so it is {kind}. "
                "Delete it and fetch it again."
            )
        with open(path, "rb") as stream:
            while block := stream.read(BLOCK):
                for state in states.values():
                    state.update(block)
    except OSError as error:
        raise DataError(cannot_read(path, error)) from error
    found = {name: state.hexdigest() for name, state in states.items()}
    for algorithm, wanted in expected.items():
        if found[algorithm] != wanted:
            raise DataError(
                f"{path}: wrong checksum: its {algorithm} is {found[algorithm]} instead of "
                f"{wanted}, so it is damaged or another file. Delete it and fetch it again."
            )
    return found
