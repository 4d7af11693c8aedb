"""CelebA: aligned faces with 40 attributes, in the official splits (Liu et al. 2015).

The images are those of ``img_align_celeba`` (a folder, or the official zip archive);
attributes and splits are the official text files. The centre of 148 pixels is resized to
64 by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t3vae.datasets.image_files import fingerprints, read_images
from t3vae.datasets.labelled import assert_disjoint, manifest
from t3vae.datasets.shelves import Shelf, open_shelf
from t3vae.errors import DataError
from t3vae.published.raw_files import RawFile, folder_of, locate

__all__ = ["ATTRIBUTES", "IMAGES", "PARTITION", "ROWS", "read"]

Array = NDArray[Any]

FOLDER = "img_align_celeba"
DRIVE = "https://drive.google.com/file/d"

IMAGES = RawFile(
    f"{FOLDER}.zip",
    1_443_490_838,
    {"md5": "00d2c5bc6d35e252742224ab0c1e8fcb"},
    f"{DRIVE}/0B7EVK8r0v71pZjFTYXZWM3FlRnM (or its 202599 images in the folder {FOLDER})",
    "0B7EVK8r0v71pZjFTYXZWM3FlRnM",
)
ATTRIBUTES = RawFile(
    "list_attr_celeba.txt",
    26_721_026,
    {"md5": "75e246fa4810816ffd6ee81facbd244c"},
    f"{DRIVE}/0B7EVK8r0v71pblRyaVFSWGxPY0U",
    "0B7EVK8r0v71pblRyaVFSWGxPY0U",
)
PARTITION = RawFile(
    "list_eval_partition.txt",
    2_836_386,
    {"md5": "d32c9cbf5e040fd4025c592c306e6668"},
    f"{DRIVE}/0B7EVK8r0v71pY0NSMzRuSXJEVkk",
    "0B7EVK8r0v71pY0NSMzRuSXJEVkk",
)

ROWS = {"train": 162_770, "validation": 19_867, "test": 19_962}
"""Images of the official splits, in the order of their numbers 0, 1, 2."""

COUNT = 40  # attributes
BLOCK = 4096


def read(config: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Read a data set with source ``celeba``; see :mod:`t3vae.datasets`.

    Args:
        config: its configuration.
        root: folder that a relative folder starts from.

    Raises:
        DataError: a file is missing, cut, damaged, another one, or has wrong counts.
    """
    folder = folder_of(config, root) / FOLDER
    files = [ATTRIBUTES, PARTITION] if folder.is_dir() else [IMAGES, ATTRIBUTES, PARTITION]
    found = locate(files, config, root)
    names, attributes, values = _attributes(found[ATTRIBUTES.name][0])
    splits = _partition(found[PARTITION.name][0], names)
    shelf = open_shelf(folder if folder.is_dir() else found[IMAGES.name][0])
    _all_there(shelf, names)
    sources: dict[str, Any] = {name: described for name, (_, described) in found.items()}
    arrays: dict[str, Array] = {}
    for split, rows in splits.items():
        arrays[split], checksum = read_images(
            shelf,
            [names[row] for row in rows],
            channels=3,
            size=config["size"],
            crop=config["crop"],
            root=root,
            label=f"{config['dataset']} {split}",
        )
        arrays[f"{split}_attributes"] = values[rows]
        sources[split] = {"files": len(rows), "sha256": checksum}
    dropped = _drop_duplicates(arrays, f"datasets.{config['dataset']}")
    extra = {
        **manifest(config, [], sources),
        "class_counts": {},
        "groups": {},
        "attributes": attributes,
        "attribute_counts": {
            split: arrays[f"{split}_attributes"].sum(axis=0, dtype=np.int64).tolist()
            for split in ROWS
        },
        "dropped": dropped,
    }
    return {"arrays": arrays, "tail_index": [], "extra": extra}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as text ({error}). Fetch it again.") from error


def _attributes(path: Path) -> tuple[list[str], list[str], Array]:
    """Return image names, attribute names and 0/1 values ``[N, 40]``."""
    lines = _lines(path)
    attributes = lines[1].split() if len(lines) > 1 else []
    if len(attributes) != COUNT:
        raise DataError(f"{path}:2: {len(attributes)} names of attributes instead of {COUNT}.")
    names, rows = [], []
    for number, line in enumerate(lines[2:], start=3):
        name, *fields = line.split() or [""]
        if len(fields) != COUNT or not set(fields) <= {"1", "-1"}:
            raise DataError(f"{path}:{number}: must be a name and {COUNT} values, each 1 or -1.")
        names.append(name)
        rows.append([field == "1" for field in fields])
    total = sum(ROWS.values())
    if lines[0].strip() != str(len(names)) or len(names) != total:
        raise DataError(
            f"{path}: has {len(names)} rows, says {lines[0].strip()!r}, and should have {total}."
        )
    return names, attributes, np.array(rows, np.uint8)


def _partition(path: Path, names: list[str]) -> dict[str, Array]:
    """Return the rows of each split."""
    numbers = np.empty(len(names), np.int64)
    lines = _lines(path)
    if len(lines) != len(names):
        raise DataError(f"{path}: has {len(lines)} rows instead of {len(names)}.")
    for row, line in enumerate(lines):
        name, _, number = line.strip().partition(" ")
        if name != names[row] or number not in ("0", "1", "2"):
            raise DataError(f"{path}:{row + 1}: must be `{names[row]}` and 0, 1 or 2.")
        numbers[row] = int(number)
    splits = {split: np.flatnonzero(numbers == number) for number, split in enumerate(ROWS)}
    for split, rows in splits.items():
        if len(rows) != ROWS[split]:
            raise DataError(
                f"{path}: gives {len(rows)} images to {split} instead of {ROWS[split]}."
            )
    return splits


def _all_there(shelf: Shelf, names: list[str]) -> None:
    given, wanted = set(shelf.names), set(names)
    if missing := sorted(wanted - given):
        raise DataError(
            f"{shelf.where(missing[0])}: missing, and {len(missing) - 1} more images of "
            f"{len(names)}. Unpack the archive again."
        )
    if more := sorted(given - wanted):
        raise DataError(
            f"{shelf.where(more[0])}: not in {ATTRIBUTES.name}, and {len(more) - 1} more files "
            "neither. Remove them."
        )


def _drop_duplicates(arrays: dict[str, Array], place: str) -> dict[str, list[int]]:
    """Drop training and validation images that are in a later split too; say which."""
    hashes = {split: fingerprints(arrays[split]) for split in ROWS}
    dropped = {}
    for split, later in (("validation", ("test",)), ("train", ("validation", "test"))):
        seen = np.concatenate([hashes[other] for other in later])
        fresh = ~np.isin(hashes[split], seen)
        dropped[split] = np.flatnonzero(~fresh).tolist()
        if not fresh.any():
            raise DataError(f"{place}: every {split} image is in another split too.")
        if not fresh.all():
            kept = np.flatnonzero(fresh)
            hashes[split] = hashes[split][kept]
            arrays[split] = _compact(arrays[split], kept)
            arrays[f"{split}_attributes"] = arrays[f"{split}_attributes"][kept]
    assert_disjoint(hashes, place)
    return dropped


def _compact(array: Array, kept: Array) -> Array:
    """Move the kept rows to the front, without a second array of that size."""
    for start in range(0, len(kept), BLOCK):
        part = kept[start : start + BLOCK]
        array[start : start + len(part)] = array[part]
    return array[: len(kept)]
