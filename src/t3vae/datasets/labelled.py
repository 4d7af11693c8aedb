"""Labelled images become a data set: splits, long tail, groups, and the check of all.

Test images are balanced; some of them are set aside for validation; training images
that are also test or validation images are dropped; then the long tail is cut. At the
end no image is in two splits, by the content of its pixels.
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
    """

    images: Array
    labels: Array

    def rows(self, index: Array) -> Images:
        """Return some of the images."""
        if len(index) == len(self.labels) and np.array_equal(index, np.arange(len(index))):
            return self
        return Images(self.images[index], self.labels[index])


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
    if test is None:
        train, test = _set_aside(train, classes, config)
    _not_empty(test, classes, place, "test")
    test_rows = _balanced(test, number, seed)
    validation_rows = np.zeros(0, np.int64)
    if validation is None:
        held = _part(test, test_rows, number, config["validation_fraction"], seed, place)
        validation_rows, test_rows = held, np.setdiff1d(test_rows, held)
        validation = test.rows(validation_rows)
    else:
        validation_rows = np.arange(len(validation.labels))
    test = test.rows(test_rows)

    hashes = {"train": fingerprints(train.images), "validation": fingerprints(validation.images)}
    hashes["test"] = fingerprints(test.images)
    fresh = ~np.isin(hashes["validation"], hashes["test"])
    dropped = {"validation": validation_rows[~fresh].tolist()}
    validation = validation.rows(np.flatnonzero(fresh))
    validation_rows, hashes["validation"] = validation_rows[fresh], hashes["validation"][fresh]
    seen = np.concatenate([hashes["test"], hashes["validation"]])
    fresh = ~np.isin(hashes["train"], seen)
    dropped["train"] = np.flatnonzero(~fresh).tolist()
    _few(dropped, len(fresh), place)
    sizes = np.bincount(train.labels, minlength=number)
    full, hashes["train"] = train.rows(np.flatnonzero(fresh)), hashes["train"][fresh]
    assert_disjoint(hashes, place)
    if not len(validation.labels):
        raise DataError(f"{place}: every validation image is also a test image.")

    train_rows = _long_tail(full, sizes, config, place)
    chosen = full.rows(train_rows)
    arrays = {
        "train": chosen.images,
        "train_labels": chosen.labels,
        "train_index": train_rows,
        "validation": validation.images,
        "validation_labels": validation.labels,
        "validation_index": validation_rows,
        "test": test.images,
        "test_labels": test.labels,
        "test_index": test_rows,
        "full_train": full.images,
        "full_train_labels": full.labels,
    }
    counts = {
        split: np.bincount(arrays[f"{split}_labels"], minlength=number).tolist()
        for split in ("train", "validation", "test", "full_train")
    }
    extra = {
        **manifest(config, classes, sources),
        "class_counts": counts,
        "groups": long_tail.class_groups(counts["train"]),
        "indices": {split: f"{split}_index.npy" for split in ("train", "validation", "test")},
        "dropped": dropped,
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


def _balanced(images: Images, number: int, seed: int) -> Array:
    """Return rows with as many images of each class as the smallest class has."""
    smallest = int(np.bincount(images.labels, minlength=number).min())
    return long_tail.select(images.labels, [smallest] * number, seed, "data/test")


def _set_aside(
    images: Images, classes: Sequence[str], config: Mapping[str, Any]
) -> tuple[Images, Images]:
    """Split images into training and test images, as many test images of each class."""
    fraction = float(config["test_fraction"])
    counts = np.bincount(images.labels, minlength=len(classes))
    share = int(fraction * counts.min())
    smallest = classes[int(counts.argmin())]
    if share < 2 or share >= counts.min():
        raise ConfigError(
            f"datasets.{config['dataset']}.test_fraction = {fraction}: leaves {share} of the "
            f"{counts.min()} images of class {smallest} for testing; at least 2 are needed, and "
            "one must remain. Use more images or another fraction."
        )
    rows = long_tail.select(
        images.labels, [share] * len(classes), int(config["seed"]), "data/held_out"
    )
    rest = np.setdiff1d(np.arange(len(images.labels)), rows)
    return images.rows(rest), images.rows(rows)


def _part(test: Images, rows: Array, number: int, fraction: float, seed: int, place: str) -> Array:
    """Return the test rows that become validation rows, as many of each class."""
    each = len(rows) // number
    share = max(1, round(fraction * each))
    if share >= each:
        raise ConfigError(
            f"{place}.validation_fraction = {fraction}: takes {share} of the {each} test images "
            "of each class, and none remains. Use more test images or a smaller fraction."
        )
    inside = long_tail.select(test.labels[rows], [share] * number, seed, "data/validation")
    return rows[inside]


def _few(dropped: Mapping[str, Sequence[int]], total: int, place: str) -> None:
    count = len(dropped["train"])
    if count > MOST_DUPLICATES * total:
        raise DataError(
            f"{place}: {count} of {total} training images are also test or validation images "
            f"(the first is image {dropped['train'][0]}), so these are no separate sets. "
            "Check the folders."
        )


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
