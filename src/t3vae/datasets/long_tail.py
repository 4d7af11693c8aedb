"""Class counts of long-tailed data sets, the rows that remain, and groups of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from t3vae.errors import ConfigError
from t3vae.runtime.seeding import numpy_generator

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PROFILES", "class_counts", "class_groups", "largest_class", "select"]

PROFILES = ("exponential", "step")


def class_counts(
    n_max: int, num_classes: int, imbalance: float, profile: str = "exponential"
) -> list[int]:
    r"""Return class counts that decay exponentially or in one step, the largest class first.

    .. math:: n_i = \lfloor n_{\max}\,\rho^{\,i/(C-1)} \rfloor,\qquad \rho = 1/\text{imbalance}

    for the exponential profile; for the step, n_max in the first half of the classes and
    floor(n_max rho) in the rest. Source: Cao et al. 2019 (LDAM, "exp" and "step"); evaluated
    in double precision in this order of operations, so counts agree with the published splits.

    Args:
        n_max: size of the largest class, at least 1.
        num_classes: C, at least 1.
        imbalance: ratio of the largest to the smallest class, at least 1.
        profile: ``"exponential"`` or ``"step"``.

    Raises:
        ConfigError: if an argument is out of range or a class would be empty.

    Example:
        >>> class_counts(500, 5, 100)
        [500, 158, 50, 15, 5]
        >>> class_counts(500, 4, 100, "step")
        [500, 500, 5, 5]
    """
    problems = []
    if not n_max >= 1:
        problems.append(f"n_max = {n_max}: must be at least 1.")
    if not num_classes >= 1:
        problems.append(f"num_classes = {num_classes}: must be at least 1.")
    if not 1 <= imbalance < float("inf"):
        problems.append(f"imbalance = {imbalance}: must be finite and at least 1. Try 10.")
    if profile not in PROFILES:
        problems.append(f"profile = {profile}: must be one of {', '.join(PROFILES)}.")
    if problems:
        raise ConfigError(problems)
    shares = _shares(num_classes, imbalance, profile)
    counts = [int(n_max * share) for share in shares]
    if counts[-1] < 1:
        raise ConfigError(
            f"imbalance = {imbalance}: the smallest of {num_classes} classes would be empty with "
            f"n_max = {n_max}. Use an imbalance of at most {n_max}."
        )
    return counts


def _shares(num_classes: int, imbalance: float, profile: str) -> list[float]:
    """Return the size of each class as a part of the largest."""
    if num_classes == 1:
        return [1.0]
    rho = 1.0 / imbalance
    if profile == "step":
        return [1.0 if i < num_classes // 2 else rho for i in range(num_classes)]
    return [rho ** (i / (num_classes - 1.0)) for i in range(num_classes)]


def largest_class(available: Sequence[int], imbalance: float, profile: str) -> int:
    """Return the largest n_max for which every class has enough rows for the profile.

    Classes of equal size give that size.

    Args:
        available: rows of each class.
        imbalance: ratio of the largest to the smallest class, at least 1.
        profile: ``"exponential"`` or ``"step"``.

    Example:
        >>> largest_class([500, 400, 500], 4.0, "exponential")
        500
        >>> largest_class([500, 100, 500], 4.0, "exponential")
        201
    """
    shares = _shares(len(available), imbalance, profile)
    n_max = int(available[0])
    for rows, share in zip(available, shares, strict=True):
        # floor(n share) <= rows exactly when n share < rows + 1
        if int(n_max * share) > rows:
            n_max = min(n_max, int((rows + 1) / share) + 1)
            while n_max > 0 and int(n_max * share) > rows:
                n_max -= 1
    return n_max


def select(labels: np.ndarray, counts: Sequence[int], seed: int, stream: str) -> np.ndarray:
    """Choose rows so that each class has its count; return their indices, sorted.

    The rows of a class are a random subset that depends on the seed, the stream's name and
    the class alone; a smaller count of the same class is a subset of a larger one.

    Args:
        labels: class of each row, ``[N]``.
        counts: rows to keep of class 0, 1, ...; at most those that there are.
        seed: root seed.
        stream: name of the stream.
    """
    import numpy as np

    kept = []
    for label, count in enumerate(counts):
        rows = np.flatnonzero(labels == label)
        order = numpy_generator(seed, stream, label).permutation(len(rows))
        kept.append(rows[order[:count]])
    return np.sort(np.concatenate(kept)).astype(np.int64)


def class_groups(counts: Sequence[int]) -> dict[str, list[int]]:
    """Return head, medium and tail: thirds of the classes by their number of training rows.

    Classes of equal size are taken in their order, so that balanced and long-tailed versions
    of one data set have the same groups. With fewer than three classes there is no middle.

    Args:
        counts: training rows of each class.

    Example:
        >>> class_groups([50, 40, 30, 20, 10])
        {'head': [0, 1], 'medium': [2], 'tail': [3, 4]}
    """
    order = sorted(range(len(counts)), key=lambda label: (-counts[label], label))
    head = max(1, round(len(order) / 3))
    tail = min(head, len(order) - head)
    middle = len(order) - tail
    return {
        "head": sorted(order[:head]),
        "medium": sorted(order[head:middle]),
        "tail": sorted(order[middle:]),
    }
