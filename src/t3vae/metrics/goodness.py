"""Goodness of fit in one dimension: Kolmogorov-Smirnov and Anderson-Darling.

Where the distribution is known, samples are compared with its exact distribution function;
otherwise with the test sample, column by column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from t3vae.metrics.reference import Reference, Sample, entry

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
Test = Callable[[Array, Array], tuple[float, float]]


def kolmogorov_smirnov(cdf: ArrayLike) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance to an exact distribution, and its p-value.

    D = max_i max(i/N - F(x_(i)), F(x_(i)) - (i-1)/N); the p-value is that of Kolmogorov's limit
    at (sqrt(N) + 0.12 + 0.11/sqrt(N)) D (Stephens, J. R. Statist. Soc. B 32, 1970).

    Args:
        cdf: exact distribution function at the sorted sample ``[N]``.

    Example:
        >>> kolmogorov_smirnov([0.25, 0.75])[0]
        0.25
    """
    values = np.asarray(cdf, dtype=np.float64)
    n = len(values)
    root, steps = np.sqrt(n), np.arange(n + 1) / n
    distance = float(max((steps[1:] - values).max(), (values - steps[:-1]).max()))
    return distance, float(special.kolmogorov((root + 0.12 + 0.11 / root) * distance))


def kolmogorov_smirnov_two_sample(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Return the two-sample Kolmogorov-Smirnov distance and its asymptotic p-value.

    Args:
        x: sorted sample ``[N]``.
        y: sorted sample ``[M]``.

    Example:
        >>> kolmogorov_smirnov_two_sample([0.0, 1.0], [2.0, 3.0])[0]
        1.0
    """
    from scipy import stats  # slow to import, and needed here alone

    found: Any = stats.ks_2samp(np.asarray(x), np.asarray(y), method="asymp")
    return float(found.statistic), float(found.pvalue)


def anderson_darling(cdf: ArrayLike, sf: ArrayLike) -> float:
    """Return the Anderson-Darling statistic against an exact distribution.

    A^2 = -N - (1/N) sum_i (2i - 1) [log F(x_(i)) + log(1 - F(x_(N+1-i)))] (Anderson and
    Darling, Ann. Math. Statist. 23, 1952).

    Args:
        cdf: F at the sorted sample ``[N]``.
        sf: 1 - F at the sorted sample ``[N]``, accurate where it is small.

    Example:
        >>> round(anderson_darling([0.5], [0.5]), 6)
        0.386294
    """
    tiny = np.finfo(np.float64).tiny
    low = np.log(np.maximum(np.asarray(cdf, dtype=np.float64), tiny))
    high = np.log(np.maximum(np.asarray(sf, dtype=np.float64), tiny))
    n = len(low)
    odd = 2.0 * np.arange(1, n + 1) - 1
    return float(-n - (odd @ low + odd @ high[::-1]) / n)


def anderson_darling_p_value(statistic: float) -> float:
    """Return P(A^2 > statistic) in the limit of large samples, not below 1e-9.

    The limit has the characteristic function sqrt(-2 pi i t / cos(pi/2 sqrt(1 + 8 i t)))
    (Anderson and Darling 1952), which is inverted by the trapezoid rule (Gil-Pelaez 1951).

    Args:
        statistic: value of A^2 against a fully specified distribution.

    Example:
        >>> round(anderson_darling_p_value(2.492), 4)
        0.05
    """
    z = float(statistic)
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


def anderson_darling_two_sample(x: ArrayLike, y: ArrayLike) -> float:
    """Return the two-sample Anderson-Darling statistic.

    A^2 = (1/NM) sum_{i<N+M} (i M' - N M_i)^2 / (i (N+M-i)) in the form of Pettitt
    (Biometrika 63, 1976): with F_x(i), the share of x among the i smallest pooled values,
    A^2 = (1/(NM)) sum_i ((N+M) X_i - N i)^2 / (i (N+M-i)).

    Args:
        x: sample ``[N]``.
        y: sample ``[M]``.
    """
    a, b = np.asarray(x), np.asarray(y)
    n, m = len(a), len(b)
    order = np.argsort(np.concatenate([a, b]), kind="stable")
    i = np.arange(1, n + m)
    below = np.cumsum(order < n)[:-1]
    terms = np.square((n + m) * below - float(n) * i) / (i * (n + m - i).astype(np.float64))
    return float(terms.sum() / (float(n) * m))


def kolmogorov_smirnov_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: Generator
) -> list[dict[str, Any]]:
    """Entries ``ks``: distance and p-value."""
    return _entries(
        *("ks", sample, reference, "against the exact distribution"),
        lambda cdf, sf: kolmogorov_smirnov(cdf),
        "two samples, asymptotic p-value",
        kolmogorov_smirnov_two_sample,
    )


def anderson_darling_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: Generator
) -> list[dict[str, Any]]:
    """Entries ``anderson_darling``: statistic and limiting p-value."""

    def judged(statistic: float) -> tuple[float, float]:
        return statistic, anderson_darling_p_value(statistic)

    limit = "limiting p-value not below 1e-9"
    return _entries(
        *("anderson_darling", sample, reference, f"against the exact distribution, {limit}"),
        lambda cdf, sf: judged(anderson_darling(cdf, sf)),
        f"two samples, {limit}",
        lambda x, y: judged(anderson_darling_two_sample(x, y)),
    )


def _entries(
    name: str,
    sample: Sample,
    reference: Reference,
    protocol: str,
    exact: Test,
    protocol_of_two: str,
    two_samples: Test,
) -> list[dict[str, Any]]:
    """Entries of a test: of all points where the distribution is known, else of each column."""
    if reference.dim == 1 and reference.distribution is not None:
        value, p = exact(*sample.distribution_values(reference.distribution))
        return [entry(name, "all", value, len(sample), protocol, p_value=p)]
    entries = []
    n = min(len(sample), len(reference))
    columns = zip(sample.sorted_columns, reference.sorted_columns, strict=True)
    for column, (x, y) in enumerate(columns):
        value, p = two_samples(x, y)
        entries.append(entry(name, f"column={column}", value, n, protocol_of_two, p_value=p))
    return entries
