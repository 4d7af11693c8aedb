"""CIFAR-10 and CIFAR-100 from their official Python archives (Krizhevsky 2009).

The archive is read into memory after its checksum. Its pickles hold plain values and arrays
of bytes, and a reader that knows nothing else reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from t3vae.datasets.labelled import Images, assemble
from t3vae.errors import DataError
from t3vae.published.archives import read_members
from t3vae.published.pickles import read_pickle
from t3vae.published.raw_files import RawFile, locate

__all__ = ["CIFAR", "Release", "read"]

SHAPE = (3, 32, 32)


class Release(NamedTuple):
    """One published archive.

    Attributes:
        file: the archive.
        folder: folder of its members.
        train: members with training images.
        test: members with test images.
        meta: member with the names of the classes.
        labels: key of the labels.
        names: key of the names of the classes.
        classes: number of classes.
        rows: images by kind of member: of all training members together, and of the test.
    """

    file: RawFile
    folder: str
    train: Sequence[str]
    test: Sequence[str]
    meta: str
    labels: str
    names: str
    classes: int
    rows: tuple[int, int] = (50_000, 10_000)


CIFAR = {
    "cifar10": Release(
        RawFile(
            "cifar-10-python.tar.gz",
            170_498_071,
            {
                "md5": "c58f30108f718f92721af3b95e74349a",
                "sha256": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            },
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        ),
        "cifar-10-batches-py",
        [f"data_batch_{number}" for number in range(1, 6)],
        ["test_batch"],
        "batches.meta",
        "labels",
        "label_names",
        10,
    ),
    "cifar100": Release(
        RawFile(
            "cifar-100-python.tar.gz",
            169_001_437,
            {
                "md5": "eb9058c3a382ffc7106e4002c42a8d85",
                "sha256": "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            },
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        ),
        "cifar-100-python",
        ["train"],
        ["test"],
        "meta",
        "fine_labels",
        "fine_label_names",
        100,
    ),
}
"""The published archives, by source."""


def read(config: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Read a data set with source ``cifar10`` or ``cifar100``; see :mod:`t3vae.datasets`.

    Args:
        config: its configuration.
        root: folder that a relative folder starts from.

    Raises:
        DataError: the archive is missing, cut, damaged, another one, or has wrong counts.
    """
    release = CIFAR[config["source"]]
    path, described = locate([release.file], config, root)[release.file.name]
    members = {
        name: f"{release.folder}/{name}" for name in (*release.train, *release.test, release.meta)
    }
    contents = read_members(path, members.values())
    read = {
        name: _texts(read_pickle(contents[member], f"{path}: {member}"))
        for name, member in members.items()
    }
    classes = _names(read[release.meta], release, f"{path}: {members[release.meta]}")
    parts = []
    for names, rows in zip((release.train, release.test), release.rows, strict=True):
        batches = [_batch(read[name], release, f"{path}: {members[name]}") for name in names]
        joined = Images(
            np.concatenate([batch.images for batch in batches]),
            np.concatenate([batch.labels for batch in batches]),
        )
        if len(joined.labels) != rows:
            raise DataError(
                f"{path}: {', '.join(names)} hold {len(joined.labels)} images instead of {rows}."
            )
        parts.append(joined)
    return assemble(config, classes, *parts, sources={release.file.name: described})


def _texts(batch: Any) -> Any:
    """Return a dictionary with text as keys; Python 2 wrote bytes."""
    if not isinstance(batch, dict):
        return batch
    return {key.decode("latin-1") if isinstance(key, bytes) else key: batch[key] for key in batch}


def _names(meta: Any, release: Release, where: str) -> list[str]:
    names = meta.get(release.names) if isinstance(meta, dict) else None
    if not isinstance(names, list) or len(names) != release.classes:
        raise DataError(f"{where}: has no list {release.names} of {release.classes} names.")
    return [name.decode("latin-1") if isinstance(name, bytes) else str(name) for name in names]


def _batch(batch: Any, release: Release, where: str) -> Images:
    data = batch.get("data") if isinstance(batch, dict) else None
    labels = batch.get(release.labels) if isinstance(batch, dict) else None
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
        raise DataError(f"{where}: has no array `data` of bytes.")
    if data.shape[1] != np.prod(SHAPE):
        raise DataError(f"{where}: its images have {data.shape[1]} values, not {np.prod(SHAPE)}.")
    if not isinstance(labels, list) or len(labels) != len(data):
        count = len(labels) if isinstance(labels, list) else "no"
        raise DataError(f"{where}: {count} {release.labels} for {len(data)} images.")
    if not all(isinstance(label, int) and 0 <= label < release.classes for label in labels):
        raise DataError(f"{where}: {release.labels} must be from 0 to {release.classes - 1}.")
    return Images(data.reshape(-1, *SHAPE), np.array(labels, np.int64))
