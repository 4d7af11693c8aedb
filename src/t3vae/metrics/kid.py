"""Kernel distance of features (KID): an unbiased estimate with its standard error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t3vae.metrics.features import Features, unmeasured
from t3vae.metrics.reference import entry, pair

__all__ = ["kid_entries", "polynomial_mmd", "subset_estimates"]

Array = NDArray[np.float64]


def polynomial_mmd(a: ArrayLike, b: ArrayLike) -> float:
    r"""Return the unbiased squared MMD of two sets of features under a cubic kernel.

    .. math:: k(x,y)=\big(x^Ty/d+1\big)^3

    The kernel depends on where zero is, the digits of the result must not: with a centre c and
    :math:`u=x-c`, :math:`v=y-c`, :math:`a=c^Tu/d`, :math:`b=c^Tv/d`, :math:`g=u^Tv/d`,
    :math:`s=|c|^2/d+1` and :math:`t=s+a+b`, it is

    .. math:: 3ab(t+s) + g\,(3t(t+g)+g^2)

    and terms of x alone and of y alone, which cancel between the three means.

    Source: Binkowski et al. 2018 (KID).

    Args:
        a, b: features ``[N, d]`` and ``[M, d]``, at least two each.

    Raises:
        MetricError: shapes that do not fit, or values that are not finite.

    Example:
        >>> polynomial_mmd([[0.0], [0.0]], [[1.0], [1.0]])
        7.0
    """
    first, second = pair(a, b, what="kid: sets")
    centre = first.mean(0)
    sets = first - centre, second - centre
    value = 0.0
    for points in sets:
        kernel, n = _kernel(points, points, centre), len(points)
        value += (kernel.sum() - np.trace(kernel)) / (n * (n - 1))
    return float(value - 2 * _kernel(*sets, centre).mean())


def _kernel(u: Array, v: Array, centre: Array) -> Array:
    """Return what is left of the kernel [N, M] of centred sets; see :func:`polynomial_mmd`."""
    d = len(centre)
    s = centre @ centre / d + 1.0
    a, b, g = (u @ centre / d)[:, None], v @ centre / d, u @ v.T / d
    t = s + a + b
    kernel: Array = 3 * a * b * (t + s) + g * (3 * t * (t + g) + g * g)
    return kernel


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
