"""Kernel distance of features (KID): an unbiased estimate with its standard error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t3vae.errors import MetricError
from t3vae.metrics.features import Features, unmeasured
from t3vae.metrics.reference import entry

__all__ = ["kid_entries", "polynomial_mmd", "subset_estimates"]

Array = NDArray[np.float64]


def polynomial_mmd(a: ArrayLike, b: ArrayLike) -> float:
    r"""Return the unbiased squared MMD of two sets of features under a cubic kernel.

    .. math:: k(x,y)=\big(x^Ty/d+1\big)^3

    Source: Binkowski et al. 2018 (KID).

    Args:
        a, b: features ``[N, d]`` and ``[M, d]``, at least two each.

    Raises:
        MetricError: shapes that do not fit.

    Example:
        >>> polynomial_mmd([[0.0], [0.0]], [[1.0], [1.0]])
        7.0
    """
    first, second = (np.asarray(points, dtype=np.float64) for points in (a, b))
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise MetricError(
            f"kid: features of shapes {first.shape} and {second.shape}; both must be [N, d]."
        )
    n, m = len(first), len(second)
    if min(n, m) < 2:
        raise MetricError("kid: needs at least two points in each set.")
    within = [
        (kernel.sum() - np.trace(kernel)) / (k * (k - 1))
        for kernel, k in ((_kernel(first, first), n), (_kernel(second, second), m))
    ]
    return float(within[0] + within[1] - 2 * _kernel(first, second).mean())


def _kernel(a: Array, b: Array) -> Array:
    return (a @ b.T / a.shape[1] + 1.0) ** 3


def subset_estimates(
    a: Array, b: Array, size: int, subsets: int, rng: np.random.Generator
) -> tuple[Array, int]:
    """Return the estimate of each pair of subsets, and how many pairs share no point.

    Both sets are cut into disjoint subsets; when they are used up, they are cut again in
    another order, so that as few points as possible are shared.

    Args:
        a, b: features ``[N, d]`` and ``[M, d]``.
        size: points of a subset; at most those of the smaller set.
        subsets: number of pairs.
        rng: generator of the order.
    """
    size = min(size, len(a), len(b))
    disjoint = min(len(a), len(b)) // size
    estimates: list[float] = []
    while len(estimates) < subsets:
        first, second = rng.permutation(len(a)), rng.permutation(len(b))
        for i in range(min(disjoint, subsets - len(estimates))):
            part = slice(i * size, (i + 1) * size)
            estimates.append(polynomial_mmd(a[first[part]], b[second[part]]))
    return np.asarray(estimates), min(disjoint, subsets)


def kid_entries(
    sample: Features, reference: Features, options: Mapping[str, Any], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Entries ``kid``: mean over subsets, with the standard error of that mean.

    The error is the spread over subsets divided by the root of the number of subsets that
    share no point: overlapping subsets do not count as independent.
    """
    found = []
    for group in reference.shared_groups(sample):
        ours = sample.rows(group).astype(np.float64)
        theirs = reference.rows(group).astype(np.float64)
        if min(len(ours), len(theirs)) < 4:
            found.append(unmeasured("kid", group, len(ours), 4, sample, reference))
            continue
        size = min(options["subset_size"], len(ours), len(theirs))
        # half of the smaller set, so that there are two subsets to compare
        size = max(2, min(size, min(len(ours), len(theirs)) // 2))
        values, disjoint = subset_estimates(ours, theirs, size, options["subsets"], rng)
        se = float(values.std(ddof=1) / np.sqrt(disjoint)) if len(values) > 1 else None
        protocol = (
            f"{sample.protocol(reference, group)}; {len(values)} subsets of {size}, "
            f"{disjoint} without a common point"
        )
        found.append(entry("kid", group, float(values.mean()), len(ours), protocol, se=se))
    return found
