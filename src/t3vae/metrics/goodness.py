"""Goodness of fit in one dimension: Kolmogorov-Smirnov and Anderson-Darling.

Where the distribution is known, samples are compared with its exact distribution function;
otherwise with the test sample, column by column. Equal values are told apart by no rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from t3vae.errors import MetricError
from t3vae.metrics.reference import Reference, Sample, entry, require_finite

__all__ = [
    "anderson_darling",
    "anderson_darling_entries",
    "anderson_darling_p_value",
    "anderson_darling_two_sample",
    "kolmogorov_smirnov",
    "kolmogorov_smirnov_entries",
    "kolmogorov_smirnov_two_sample",
]

Array = NDArray[np.floating[Any]]
Generator = np.random.Generator

MOST_TIES = 0.01  # chance that two pooled points are equal, up to which the limit holds
GROUPS = 1000  # of values, when points are exchanged


def kolmogorov_smirnov(cdf: ArrayLike) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance to an exact distribution, and its p-value.

    D = max_i max(i/N - F(x_(i)), F(x_(i)) - (i-1)/N); the p-value is that of Kolmogorov's limit
    at (sqrt(N) + 0.12 + 0.11/sqrt(N)) D (Stephens, J. R. Statist. Soc. B 32, 1970).

    Args:
        cdf: exact distribution function at the sorted sample ``[N]``.

    Raises:
        MetricError: empty, or a value that is not finite.

    Example:
        >>> kolmogorov_smirnov([0.25, 0.75])[0]
        0.25
    """
    values = _points(cdf)
    n = len(values)
    root, steps = np.sqrt(n), np.arange(n + 1) / n
    distance = float(max((steps[1:] - values).max(), (values - steps[:-1]).max()))
    return distance, float(special.kolmogorov((root + 0.12 + 0.11 / root) * distance))


def kolmogorov_smirnov_two_sample(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Return the two-sample Kolmogorov-Smirnov distance and its asymptotic p-value.

    Both steps are taken behind equal values, so that ties make no distance; the p-value is
    then on the safe side.

    Args:
        x: sorted sample ``[N]``.
        y: sorted sample ``[M]``.

    Raises:
        MetricError: an empty sample, or a value that is not finite.

    Example:
        >>> kolmogorov_smirnov_two_sample([0.0, 1.0], [2.0, 3.0])[0]
        1.0
    """
    from scipy import stats  # slow to import, and needed here alone

    a, b = _points(x), _points(y)
    # One point each has an effective size that is no integer, which the limit cannot take.
    method: Any = "asymp" if len(a) + len(b) > 2 else "exact"
    found: Any = stats.ks_2samp(a, b, method=method)
    return float(found.statistic), float(found.pvalue)


def anderson_darling(cdf: ArrayLike, sf: ArrayLike) -> float:
    """Return the Anderson-Darling statistic against an exact distribution.

    A^2 = -N - (1/N) sum_i (2i - 1) [log F(x_(i)) + log(1 - F(x_(N+1-i)))] (Anderson and
    Darling, Ann. Math. Statist. 23, 1952).

    Args:
        cdf: F at the sorted sample ``[N]``.
        sf: 1 - F at the sorted sample ``[N]``, accurate where it is small.

    Raises:
        MetricError: empty, or a value that is not finite.

    Example:
        >>> round(anderson_darling([0.5], [0.5]), 6)
        0.386294
    """
    tiny = np.finfo(np.float64).tiny
    low, high = (np.log(np.maximum(_points(values), tiny)) for values in (cdf, sf))
    n = len(low)
    odd = 2.0 * np.arange(1, n + 1) - 1
    return float(-n - (odd @ low + odd @ high[::-1]) / n)


def anderson_darling_p_value(statistic: float) -> float:
    """Return P(A^2 > statistic) in the limit of large samples, not below 1e-9.

    The limit has the characteristic function sqrt(-2 pi i t / cos(pi/2 sqrt(1 + 8 i t)))
    (Anderson and Darling 1952), which is inverted by the trapezoid rule (Gil-Pelaez 1951).

    Args:
        statistic: value of A^2 against a fully specified distribution.

    Raises:
        MetricError: it is not a number.

    Example:
        >>> round(anderson_darling_p_value(2.492), 4)
        0.05
    """
    z = float(statistic)
    if np.isnan(z):
        raise MetricError("Anderson-Darling statistic: not a number.")
    if z <= 0:
        return 1.0
    if z > 30:
        return 1e-9
    step = 0.05
    t = step * np.arange(1, 5001)
    ratio = -2j * np.pi * t / np.cos(np.pi / 2 * np.sqrt(1 + 8j * t))
    phase = np.unwrap(np.angle(ratio)) / 2  # the branch that starts at zero
    values = np.sqrt(np.abs(ratio)) * np.sin(phase - t * z) / t
    at_zero = 1 - z  # the mean of the limit is 1
    p = 0.5 + step / np.pi * (at_zero / 2 + float(values.sum()))
    return min(1.0, max(p, 1e-9))


def anderson_darling_two_sample(
    x: ArrayLike, y: ArrayLike, rng: Generator, exchanges: int = 999
) -> tuple[float, float, str]:
    """Return the two-sample statistic with mid-ranks, its p-value, and where that comes from.

    With the L distinct pooled values z_j, l_j points at z_j, B_j of all N + M = K points below
    it and X_j of those of x, where a point at z_j itself counts half,

        A^2 = (K - 1) / (K N M) sum_j l_j (K X_j - N B_j)^2 / (B_j (K - B_j) - K l_j / 4)

    (Scholz and Stephens, J. Am. Statist. Assoc. 82, 1987, equation 7). Exchanged samples and
    samples with the sign turned have the same value. The limit of
    :func:`anderson_darling_p_value` holds for large samples with few ties. Where two of the
    pooled points, drawn with replacement, are equal in more than ``MOST_TIES`` of all cases,
    points are exchanged between the samples instead: p = (1 + #{A_b >= A}) / (1 + B).

    Args:
        x: sample ``[N]`` in any order.
        y: sample ``[M]`` in any order.
        rng: generator of the exchanges.
        exchanges: their number B.

    Raises:
        MetricError: an empty sample, or a value that is not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> anderson_darling_two_sample([0.0, 1.0, 1.0], [1.0, 0.0, 1.0], rng)[:2]
        (0.0, 1.0)
    """
    counts, own = _ties(_points(x), _points(y))
    value, total = float(_anderson_darling(own, counts)), int(counts.sum())
    if np.square(counts / total).sum() <= MOST_TIES:
        p = anderson_darling_p_value(value)
        return value, p, "two samples, mid-ranks, limiting p-value not below 1e-9"
    # values of few points each are taken together: their order decides nothing
    middles = (np.cumsum(counts) - 0.5 * counts) / total
    starts = np.unique(np.floor(GROUPS * middles), return_index=True)[1]
    coarse = np.add.reduceat(counts, starts)
    drawn = rng.multivariate_hypergeometric(
        coarse, int(own.sum()), size=exchanges, method="marginals"
    )
    nulls = _anderson_darling(drawn, coarse)
    p = (1 + int(np.count_nonzero(nulls >= value * (1 - 1e-9)))) / (1 + exchanges)
    return value, p, f"two samples, mid-ranks, p-value of {exchanges} exchanges of points"


def _ties(x: Array, y: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many pooled points, and how many of x, each distinct value has, in order."""
    values, counts = np.unique(np.concatenate([x, y]), return_counts=True)
    ordered = np.sort(x)
    ends = np.searchsorted(ordered, values, "right")
    return counts.astype(np.int64), np.diff(ends, prepend=0).astype(np.int64)


def _anderson_darling(own: NDArray[np.int64], counts: NDArray[np.int64]) -> Array:
    """Return the statistic for the points ``[..., L]`` of one sample among ``counts`` [L]."""
    if len(counts) == 1:
        return np.zeros(own.shape[:-1])
    total, n = float(counts.sum()), own.sum(-1, dtype=np.float64)
    below = np.cumsum(counts) - 0.5 * counts
    excess = total * (np.cumsum(own, axis=-1) - 0.5 * own) - n[..., None] * below
    spread = below * (total - below) - 0.25 * total * counts
    terms: Array = (counts * np.square(excess) / spread).sum(-1)
    return terms * (total - 1) / (total * n * (total - n))


def _points(x: ArrayLike) -> Array:
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise MetricError(f"points have shape {values.shape}: must be [N] with N >= 1.")
    return require_finite(values)


def kolmogorov_smirnov_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: Generator
) -> list[dict[str, Any]]:
    """Entries ``ks``: distance and p-value."""
    return _entries(
        *("ks", sample, reference, "against the exact distribution"),
        lambda cdf, sf: kolmogorov_smirnov(cdf),
        lambda x, y: (*kolmogorov_smirnov_two_sample(x, y), "two samples, asymptotic p-value"),
    )


def anderson_darling_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: Generator
) -> list[dict[str, Any]]:
    """Entries ``anderson_darling``: statistic and p-value."""

    def exact(cdf: Array, sf: Array) -> tuple[float, float]:
        statistic = anderson_darling(cdf, sf)
        return statistic, anderson_darling_p_value(statistic)

    protocol = "against the exact distribution, limiting p-value not below 1e-9"
    return _entries(
        *("anderson_darling", sample, reference, protocol),
        exact,
        lambda x, y: anderson_darling_two_sample(x, y, rng),
    )


def _entries(
    name: str,
    sample: Sample,
    reference: Reference,
    protocol: str,
    exact: Callable[[Array, Array], tuple[float, float]],
    two_samples: Callable[[Array, Array], tuple[float, float, str]],
) -> list[dict[str, Any]]:
    """Entries of a test: of all points where the distribution is known, else of each column."""
    if reference.dim == 1 and reference.distribution is not None:
        value, p = exact(*sample.distribution_values(reference.distribution))
        return [entry(name, "all", value, len(sample), protocol, p_value=p)]
    entries = []
    n = min(len(sample), len(reference))
    columns = zip(sample.sorted_columns, reference.sorted_columns, strict=True)
    for column, (x, y) in enumerate(columns):
        value, p, how = two_samples(x, y)
        entries.append(entry(name, f"column={column}", value, n, how, p_value=p))
    return entries
