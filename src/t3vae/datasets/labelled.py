"""Labelled images become a data set: splits, long tail, groups, and the check of all.

Test images are balanced; some of them are set aside for validation; training images
that are also test or validation images are dropped; then the long tail is cut. At the
end no image is in two splits, by the content of its pixels: what is set aside here is chosen
among different images, and copies of it do not stay on the other side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from t3vae.datasets import long_tail
from t3vae.datasets.image_files import fingerprints
from t3vae.errors import ConfigError, DataError

__all__ = ["Images", "assemble", "assert_disjoint", "manifest"]

Array = NDArray[Any]

MOST_DUPLICATES = 0.1  # more than this part of the training images cannot be chance


class Images(NamedTuple):
    """Images of one split.

    Attributes:
        images: uint8 ``[N, C, H, W]``.
        labels: class of each, int64 ``[N]``.
        names: file of each, where each has one.
    """

    images: Array
    labels: Array
    names: Sequence[str] | None = None

    def rows(self, index: Array) -> Images:
        """Return some of the images."""
        if len(index) == len(self.labels) and np.array_equal(index, np.arange(len(index))):
            return self
        names = None if self.names is None else [self.names[row] for row in index]
        return Images(self.images[index], self.labels[index], names)

    def name(self, row: int, split: str) -> str:
        """Return the file of an image, or its number where it has none."""
        return f"{split} image {row}" if self.names is None else self.names[row]


def assemble(
    config: Mapping[str, Any],
    classes: Sequence[str],
    train: Images,
    test: Images | None,
    validation: Images | None = None,
    *,
    sources: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the arrays and the manifest of a labelled data set.

    Args:
        config: the data set's configuration, with ``imbalance``, ``profile``, ``seed``,
            ``validation_fraction``, ``flip`` and, when there is no test set, ``test_fraction``.
        classes: names of the classes; the long tail goes from the first to the last.
        train: training images.
        test: test images; None takes them from the training images.
        validation: validation images; None takes them from the test images.
        sources: checksums of what was read.

    Raises:
        DataError: a class is empty, or splits share so many images that it is no chance.
        ConfigError: a class would be empty with these numbers.
    """
    place = f"datasets.{config['dataset']}"
    seed, number = int(config["seed"]), len(classes)
    _not_empty(train, classes, place, "training")
    names, dropped = {"train": train.names}, dict[str, Array]()
    if test is None:
        train, test, dropped["train"] = _set_aside(train, classes, config)
    _not_empty(test, classes, place, "test")
    names["test"], names["validation"] = test.names, (validation or test).names
    test_rows, hashes = _balanced(test.labels, number, seed), {"test": fingerprints(test.images)}
    if validation is None:
        fraction = config["validation_fraction"]
        validation_rows, test_rows, dropped["test"] = _part(
            test, test_rows, hashes["test"], number, fraction, seed, place
        )
        validation = test.rows(validation_rows)
    else:
        validation_rows = np.arange(len(validation.labels))
    test, hashes["test"] = test.rows(test_rows), hashes["test"][test_rows]

    hashes["train"], hashes["validation"] = map(fingerprints, (train.images, validation.images))
    fresh = ~np.isin(hashes["validation"], hashes["test"])
    if not fresh.any():
        same = _same("validation", validation, hashes, "test", test)
        raise DataError(f"{place}: every validation image is also a test image, as {same}.")
    dropped["validation"] = validation_rows[~fresh]
    validation = validation.rows(np.flatnonzero(fresh))
    validation_rows, hashes["validation"] = validation_rows[fresh], hashes["validation"][fresh]
    fresh = ~np.isin(hashes["train"], np.concatenate([hashes["test"], hashes["validation"]]))
    if (~fresh).sum() > MOST_DUPLICATES * len(fresh):
        held = {"test": test, "validation": validation}
        split = next(s for s in held if np.isin(hashes["train"], hashes[s]).any())
        same = _same("train", train, hashes, split, held[split])
        raise DataError(
            f"{place}: {(~fresh).sum()} of {len(fresh)} training images are also test or "
            f"validation images, as {same}, so these are no separate sets. Check the folders."
        )
    dropped.setdefault("train", np.flatnonzero(~fresh))
    sizes = np.bincount(train.labels, minlength=number)
    full, hashes["train"] = train.rows(np.flatnonzero(fresh)), hashes["train"][fresh]
    assert_disjoint(hashes, place)

    train_rows = _long_tail(full, sizes, config, place)
    chosen = full.rows(train_rows)
    splits = {"train": chosen, "validation": validation, "test": test, "full_train": full}
    rows = {"train": train_rows, "validation": validation_rows, "test": test_rows}
    arrays = {f"{split}_index": index for split, index in rows.items()}
    for split, part in splits.items():
        arrays |= {split: part.images, f"{split}_labels": part.labels}
    counts = {
        split: np.bincount(part.labels, minlength=number).tolist() for split, part in splits.items()
    }
    extra = {
        **manifest(config, classes, sources),
        "class_counts": counts,
        "groups": long_tail.class_groups(counts["train"]),
        "indices": {split: f"{split}_index.npy" for split in rows},
        "dropped": {split: index.tolist() for split, index in dropped.items()},
    }
    if names["train"] is not None:
        extra["dropped_files"] = {
            split: [listed[row] for row in dropped[split]]
            for split, listed in names.items()
            if listed is not None and split in dropped
        }
    return {"arrays": arrays, "tail_index": [], "extra": extra}


def manifest(
    config: Mapping[str, Any], classes: Sequence[str], sources: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the manifest of every data set of images says."""
    return {
        "classes": list(classes),
        "value_range": [0, 255],
        "flip": bool(config["flip"]),
        "sources": dict(sources),
    }


def assert_disjoint(hashes: Mapping[str, Array], place: str) -> None:
    """Refuse splits that share an image.

    Args:
        hashes: hashes of the rows of each split, from
            :func:`t3vae.datasets.image_files.fingerprints`.
        place: name of the data set for messages.

    Raises:
        DataError: two splits have an image in common.
    """
    names = sorted(hashes)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = int(np.isin(hashes[first], hashes[second]).sum())
            if shared:
                raise DataError(f"{place}: {first} and {second} share {shared} images.")


def _not_empty(images: Images, classes: Sequence[str], place: str, split: str) -> None:
    counts = np.bincount(images.labels, minlength=len(classes))
    for name, count in zip(classes, counts, strict=True):
        if count == 0:
            raise DataError(f"{place}: class {name} has no {split} image.")


def _balanced(labels: Array, number: int, seed: int) -> Array:
    """Return rows with as many images of each class as the smallest class has."""
    smallest = int(np.bincount(labels, minlength=number).min())
    return long_tail.select(labels, [smallest] * number, seed, "data/test")


def _set_aside(
    images: Images, classes: Sequence[str], config: Mapping[str, Any]
) -> tuple[Images, Images, Array]:
    """Split images into training and test images, as many test images of each class.

    Test images are chosen among different ones. Their copies among the others, which would be
    test images in the training set, are left out; their rows are the third of the results.
    """
    fraction = float(config["test_fraction"])
    hashes = fingerprints(images.images)
    different = _different(hashes)
    labels = images.labels[different]
    counts = np.bincount(labels, minlength=len(classes))
    share = int(fraction * counts.min())
    smallest = classes[int(counts.argmin())]
    if share < 2 or share >= counts.min():
        raise ConfigError(
            f"datasets.{config['dataset']}.test_fraction = {fraction}: leaves {share} of the "
            f"{counts.min()} different images of class {smallest} for testing; at least 2 are "
            "needed, and one must remain. Use more images or another fraction."
        )
    chosen = long_tail.select(labels, [share] * len(classes), int(config["seed"]), "data/held_out")
    rows = different[chosen]
    rest = np.setdiff1d(np.arange(len(images.labels)), rows)
    copies = np.isin(hashes[rest], hashes[rows])
    return images.rows(rest[~copies]), images.rows(rows), rest[copies]


def _part(
    test: Images,
    rows: Array,
    hashes: Array,
    number: int,
    fraction: float,
    seed: int,
    place: str,
) -> tuple[Array, Array, Array]:
    """Choose the test rows that become validation rows, as many of each class.

    Those of which there is no copy are taken where they are enough, so that all others remain
    test images; else different ones, whose copies are no test images then. What comes back:
    validation rows, test rows, and rows that are left out as copies.
    """
    different = rows[_different(hashes[rows])]
    _, where, times = np.unique(hashes[rows], return_inverse=True, return_counts=True)
    single = rows[times[where] == 1]
    each = int(np.bincount(test.labels[different], minlength=number).min())
    share = max(1, round(fraction * each))
    if share >= each:
        raise ConfigError(
            f"{place}.validation_fraction = {fraction}: takes {share} of the {each} different test "
            "images of each class, and none remains. Use more test images or a smaller fraction."
        )
    enough = np.bincount(test.labels[single], minlength=number).min() >= share
    chosen = single if enough else different
    held = chosen[long_tail.select(test.labels[chosen], [share] * number, seed, "data/validation")]
    rest = np.setdiff1d(rows, held)
    copies = np.isin(hashes[rest], hashes[held])
    left, rest = rest[copies], rest[~copies]
    if len(left):
        rest = rest[_balanced(test.labels[rest], number, seed)]
    return held, rest, left


def _different(hashes: Array) -> Array:
    """Return the rows of different images: the first of those that are the same."""
    return np.sort(np.unique(hashes, return_index=True)[1])


def _same(
    split: str, images: Images, hashes: Mapping[str, Array], other: str, others: Images
) -> str:
    """Name two images of two splits that are the same, the first that there are."""
    row = int(np.flatnonzero(np.isin(hashes[split], hashes[other]))[0])
    twin = int(np.flatnonzero(hashes[other] == hashes[split][row])[0])
    return f"{images.name(row, split)} and {others.name(twin, other)}"


def _long_tail(full: Images, sizes: Array, config: Mapping[str, Any], place: str) -> Array:
    """Return the rows that the long tail keeps."""
    available = np.bincount(full.labels, minlength=len(sizes))
    if config["imbalance"] is None:
        return np.arange(len(full.labels))
    imbalance, profile = float(config["imbalance"]), str(config["profile"])
    n_max = long_tail.largest_class([int(size) for size in sizes], imbalance, profile)
    try:
        wanted = long_tail.class_counts(n_max, len(sizes), imbalance, profile)
    except ConfigError as error:
        raise ConfigError([f"{place}.{problem}" for problem in error.problems]) from error
    counts = [min(count, int(rows)) for count, rows in zip(wanted, available, strict=True)]
    if not min(counts):
        raise DataError(f"{place}: every training image of a class is also a test image.")
    return long_tail.select(full.labels, counts, int(config["seed"]), "data/long_tail")
