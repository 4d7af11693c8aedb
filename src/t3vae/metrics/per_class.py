"""Classes, groups of classes and attributes: whose images they are, and how they fare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t3vae.errors import MetricError
from t3vae.metrics.features import Features
from t3vae.metrics.reference import entry, mean_entry

__all__ = [
    "attribute_groups",
    "class_groups",
    "error_entries",
    "f1_entries",
    "f1_scores",
    "mass_entries",
]

Rows = NDArray[np.intp]


def class_groups(
    labels: ArrayLike, classes: int, groups: Mapping[str, Sequence[int]] | None = None
) -> dict[str, Rows]:
    """Return the rows of each class (``class:0``, ...) and of each group of classes.

    Args:
        labels: class of each row, [N].
        classes: number of classes.
        groups: classes of each group, such as ``{"tail": [8, 9]}``.

    Example:
        >>> class_groups([0, 1, 0], 2, {"tail": [1]})
        {'class:0': array([0, 2]), 'class:1': array([1]), 'tail': array([1])}
    """
    array = np.asarray(labels)
    found = {f"class:{k}": np.flatnonzero(array == k) for k in range(classes)}
    for name, members in (groups or {}).items():
        found[name] = np.flatnonzero(np.isin(array, list(members)))
    return found


def attribute_groups(attributes: ArrayLike, names: Sequence[str]) -> dict[str, Rows]:
    """Return the rows that have each attribute; of ``Young`` also those that lack it.

    Args:
        attributes: 0 or 1, [N, A].
        names: names of the A attributes.

    Raises:
        MetricError: another number of names.
    """
    array = np.asarray(attributes)
    if array.ndim != 2 or array.shape[1] != len(names):
        raise MetricError(f"attributes of shape {array.shape} for {len(names)} names.")
    found = {f"attribute:{name}": np.flatnonzero(array[:, i]) for i, name in enumerate(names)}
    if "Young" in names:
        found["attribute:not_Young"] = np.flatnonzero(array[:, list(names).index("Young")] == 0)
    return found


def error_entries(
    reconstructions: NDArray[Any], images: NDArray[Any], groups: Mapping[str, Rows], unit: float
) -> list[dict[str, Any]]:
    """Entries ``reconstruction_error``: mean over images of |x - x_hat|^2.

    Args:
        reconstructions, images: pairs, [N, ...].
        groups: rows of each group.
        unit: value of white, so that images count as numbers from 0 to 1.
    """
    gaps = np.empty(len(images))
    for start in range(0, len(images), 1024):
        part = slice(start, start + 1024)
        gap = reconstructions[part].astype(np.float32) - images[part].astype(np.float32)
        gaps[part] = np.square(gap / unit).reshape(len(gap), -1).sum(1, dtype=np.float64)
    name, found = "reconstruction_error", []
    for group, rows in groups.items():
        if len(rows):
            found.append(mean_entry(name, group, gaps[rows], _ERROR))
        else:
            reason = f"no test image in {group}"
            found.append(entry(name, group, None, 0, _ERROR, reason=reason))
    return found


_NO_CLASSIFIER = "no classifier of classes for this data set"
_ERROR = "sum over pixels of the squared error, values from 0 to 1, one latent draw an image"


def f1_scores(wanted: ArrayLike, seen: ArrayLike, classes: int) -> NDArray[np.float64]:
    r"""Return the F1 score of each class, [K]: :math:`2TP/(2TP+FP+FN)`; NaN for an unused class.

    Args:
        wanted: class that each image should show, [N].
        seen: class that the classifier sees, [N].
        classes: number of classes.

    Example:
        >>> f1_scores([0, 0, 1], [0, 1, 1], 2).round(3)
        array([0.667, 0.667])
    """
    a, b = np.asarray(wanted), np.asarray(seen)
    if a.shape != b.shape or a.ndim != 1:
        raise MetricError(f"labels of shapes {a.shape} and {b.shape}; both must be [N].")
    hits = np.bincount(a[a == b], minlength=classes).astype(np.float64)
    total = np.bincount(a, minlength=classes) + np.bincount(b, minlength=classes)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(total > 0, 2 * hits / np.maximum(total, 1), np.nan))


def f1_entries(
    sample: Features, reference: Features, options: Mapping[str, Any], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Entries ``class_f1``: does each image show the class that the model was asked for?

    The judge is the classifier of real data. ``all`` is the mean over classes, a group the
    mean over its classes. A model that is not conditional was asked for no class.
    """
    name = "class_f1"
    if sample.predicted is None or sample.labels is None:
        reason = "the model is not conditional: its samples have no class that they should show"
        reason = _NO_CLASSIFIER if sample.predicted is None else reason
        return [entry(name, "all", None, len(sample), sample.extractor, reason=reason)]
    classes = [g for g in reference.groups if g.startswith("class:")]
    scores = f1_scores(sample.labels, sample.predicted, len(classes))
    protocol = f"{sample.extractor}; F1 of the classifier on {len(sample)} images"
    found = []
    for group, members in _members(reference, classes).items():
        value = float(scores[members].mean())
        n = int(np.isin(sample.labels, members).sum())
        unused = "a class was neither drawn nor seen" if np.isnan(value) else None
        found.append(entry(name, group, value, n, protocol, reason=unused))
    return found


def mass_entries(
    sample: Features, reference: Features, options: Mapping[str, Any], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Entries ``class_mass``: share of images in which the classifier sees each class."""
    name = "class_mass"
    if sample.predicted is None:
        whose = sample.extractor
        return [entry(name, "all", None, len(sample), whose, reason=_NO_CLASSIFIER)]
    classes = [g for g in reference.groups if g.startswith("class:")]
    protocol = f"{sample.extractor}; share of {len(sample)} images"
    found = []
    for group, members in _members(reference, classes).items():
        if group == "all":
            continue
        share = float(np.isin(sample.predicted, members).mean())
        se = float(np.sqrt(share * (1 - share) / len(sample)))
        found.append(entry(name, group, share, len(sample), protocol, se=se))
    return found


def _members(reference: Features, classes: Sequence[str]) -> dict[str, list[int]]:
    """Return the classes of each group of the test images."""
    found = {"all": list(range(len(classes)))}
    rows = {k: reference.groups[name] for k, name in enumerate(classes)}
    for group, members in reference.groups.items():
        if group == "all" or group.startswith("attribute:"):
            continue
        inside = [k for k, own in rows.items() if len(own) and np.isin(own, members).all()]
        if inside:
            found[group] = inside
    return found
