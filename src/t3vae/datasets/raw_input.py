"""The user's own files as what a data set depends on: their content, in one digest.

Published archives are fixed by checksums in the code: with other bytes they are refused. The
files of the user are fixed by nothing, so new, replaced and removed ones are seen here. The
digest goes into the provenance of the manifest; Snakemake and ``t3vae check`` compare it.
Where the files are not, as in a clone that pulled prepared data, the record in the manifest
counts. The catalogue says which folder or file of its own a source reads (``raw``).
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from t3vae.datasets.shelves import Found, listing
from t3vae.errors import DataError
from t3vae.provenance.digests import LENGTH, digest, file_digest
from t3vae.published.raw_files import folder_of
from t3vae.runtime import files, layout
from t3vae.settings.sources import source_of

__all__ = ["digests", "place", "trigger"]

SETTLED = 2.0  # seconds; a file that is younger may change again within one tick of its clock


def place(config: Mapping[str, Any]) -> str | None:
    """Return the folder or file of the user that a data set is read from, as it is configured.

    Args:
        config: the resolved configuration of the data set.

    Example:
        >>> place({"source": "image_folder", "folder": "data/raw/images"})
        'data/raw/images'
        >>> place({"source": "digits"})
    """
    source = source_of(config)
    return None if source is None or source.raw is None else source.raw.format_map(config)


def digests(config: Mapping[str, Any], root: Path) -> dict[str, str]:
    """Return the digest of the user's files by their place; empty where there are none.

    Names and content of all files that are not hidden count; times do not. The last digest
    is kept in ``scratch/raw/`` beside what the system says of the files (names, sizes, times,
    numbers), and taken from there as long as that is the same.

    Args:
        config: the resolved configuration of the data set.
        root: folder that a relative place starts from.

    Raises:
        DataError: a file in the folder may not be read.
    """
    where = place(config)
    if where is None:
        return {}
    path = folder_of({**config, "folder": where}, root)
    try:
        if not os.access(path, os.R_OK):
            return {}
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind == stat.S_IFREG:
            found = [Found(b"", "file", path.stat())]
        else:
            found = sorted(listing(path)) if kind == stat.S_IFDIR else []
    except OSError as error:
        raise DataError(files.cannot_read(os.fsdecode(error.filename or path), error)) from error
    if not any(entry.status for entry in found):
        return {}
    return {where: _kept(path, found, layout.under(root, f"scratch/raw/{digest(where)}.json"))}


def trigger(config: Mapping[str, Any], root: Path) -> str:
    """Return what makes Snakemake prepare a data set again when it changes.

    Args:
        config: the resolved configuration of the data set.
        root: folder of the contract paths.

    Raises:
        DataError: a file in the folder may not be read.
    """
    where = place(config)
    if where is None:
        return ""
    now = digests(config, root)
    if not now:
        with suppress(DataError, KeyError, TypeError, AttributeError):
            manifest = files.read_json(layout.under(root, layout.manifest(config["dataset"])))
            now = manifest["provenance"]["inputs"]
    return str(now.get(where, ""))


def _kept(path: Path, found: list[Found], note: Path) -> str:
    """Return the digest of the content, from the note when nothing has changed since."""
    told, youngest = hashlib.sha256(b"1"), 0.0
    for name, kind, status in found:
        told.update(b"%b\0%b\0" % (name, kind.encode()))
        if status is not None:
            numbers = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
            told.update(b"%d %d %d %d\0" % numbers)
            youngest = max(youngest, status.st_mtime, status.st_ctime)
    known = told.hexdigest()
    with suppress(DataError, AttributeError):
        kept = files.read_json(note)
        if kept.get("files") == known:
            return str(kept["content"])
    content = _content(path, found)
    if time.time() - youngest > SETTLED:
        with suppress(DataError):  # a note only: a root that cannot be written does without
            files.write_json(note, {"files": known, "content": content})
    return content


def _content(path: Path, found: list[Found]) -> str:
    if found[0].name == b"":
        return file_digest(path)
    total = hashlib.sha256()
    for name, kind, status in found:
        total.update(b"%b\0%b\0" % (name, kind.encode()))
        if status is not None:
            total.update(file_digest(path / os.fsdecode(name)).encode())
    return total.hexdigest()[:LENGTH]
