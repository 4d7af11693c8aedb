"""A folder of images, or a zip archive of it.

Layouts: ``train/<class>/*`` with ``test/<class>/*`` (and, if there is one,
``validation/<class>/*``), or ``<class>/*`` with a split by fractions. Images without a
class folder make one class. Classes are sorted by name, images by name within them. Of images
that are the same, a split by fractions puts all on one side; see :mod:`t3vae.datasets.labelled`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from t3vae.datasets.image_files import ENDINGS, read_images
from t3vae.datasets.labelled import Images, assemble
from t3vae.datasets.shelves import Shelf, open_shelf
from t3vae.errors import DataError
from t3vae.published.raw_files import folder_of

__all__ = ["read"]

SPLITS = ("train", "validation", "test")
EVERYTHING = "all"


def read(config: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Read a data set with source ``image_folder``; see :mod:`t3vae.datasets`.

    Args:
        config: its configuration.
        root: folder that a relative folder starts from.

    Raises:
        DataError: no such folder, no images, or a file that is not an image of the wanted kind.
    """
    folder = folder_of(config, root)
    hint = (
        "Put images there as train/<class>/* and test/<class>/*, or as <class>/*, or name "
        f"another folder or zip archive with datasets.{config['dataset']}.folder in params.yaml."
    )
    shelf = open_shelf(folder, hint)
    if not shelf.names:
        raise DataError(f"{folder}: an empty folder: no image in it. {hint}")
    tops = {name.partition("/")[0] for name in shelf.folders}
    if "train" in tops:
        found = {split: _classes(shelf, split) for split in SPLITS if split in tops}
        others = sorted(tops - set(SPLITS)) + [name for name in shelf.names if "/" not in name]
        if others:
            raise DataError(
                f"{shelf.where(others[0])}: stands beside train; only {', '.join(SPLITS)} may. "
                "Move it."
            )
        _same_classes(shelf, found)
    elif tops & {"test", "validation"}:
        raise DataError(f"{shelf.path}: has no folder train beside {', '.join(sorted(tops))}.")
    else:
        found = {"train": _classes(shelf, "")}
    classes = sorted(found["train"])
    sources: dict[str, Any] = {}
    parts: dict[str, Images] = {}
    for split, folders in found.items():
        names = [name for label in classes for name in folders[label]]
        labels = np.repeat(np.arange(len(classes)), [len(folders[label]) for label in classes])
        images, checksum = read_images(
            shelf,
            names,
            channels=config["channels"],
            size=config["size"],
            crop=config["crop"],
            root=root,
            label=f"{config['dataset']} {split}",
        )
        parts[split] = Images(images, labels.astype(np.int64), names)
        sources[split] = {"files": len(names), "sha256": checksum}
    return assemble(
        config,
        classes,
        parts["train"],
        parts.get("test"),
        parts.get("validation"),
        sources=sources,
    )


def _classes(shelf: Shelf, split: str) -> dict[str, list[str]]:
    """Return the images of each class below the folder of a split (below all for '')."""
    prefix = f"{split}/" if split else ""
    inside = [name[len(prefix) :] for name in shelf.names if name.startswith(prefix)]
    folders = [name[len(prefix) :] for name in shelf.folders if name.startswith(prefix)]
    for name in inside:
        if PurePosixPath(name).suffix.lower() not in ENDINGS:
            raise DataError(
                f"{shelf.where(prefix + name)}: not an image by its ending "
                f"({', '.join(ENDINGS)}). Remove it."
            )
    for name in folders:
        if "/" in name:
            raise DataError(f"{shelf.where(prefix + name)}: a folder inside a class. Move it.")
    loose = [prefix + name for name in inside if "/" not in name]
    if loose and folders:
        raise DataError(
            f"{shelf.where(loose[0])}: an image beside folders of classes. Move it into a class."
        )
    if loose:
        return {EVERYTHING: loose}
    if not folders:
        raise DataError(f"{shelf.where(split)}: an empty folder: no class in it.")
    for name in folders:
        if not name.isprintable():
            raise DataError(
                f"{shelf.where(prefix + name)}: the name of a class that is not UTF-8 text, or "
                "holds signs that cannot be shown. Rename the folder."
            )
    found: dict[str, list[str]] = {name: [] for name in sorted(folders)}
    for name in inside:
        found[name.partition("/")[0]].append(prefix + name)
    for name, images in found.items():
        if not images:
            raise DataError(
                f"{shelf.where(prefix + name)}: a class with no image. Fill or remove it."
            )
    return found


def _same_classes(shelf: Shelf, found: Mapping[str, Mapping[str, Any]]) -> None:
    train = set(found["train"])
    for split, folders in found.items():
        for name in sorted(train - set(folders)):
            like = [other for other in folders if other.casefold() == name.casefold()]
            raise DataError(
                f"{shelf.where(f'{split}/{name}')}: missing, while train/{name} is there."
                + (f" {split}/{like[0]} is written otherwise; rename one." if like else "")
            )
        for name in sorted(set(folders) - train):
            raise DataError(f"{shelf.where(f'{split}/{name}')}: a class that train does not have.")
