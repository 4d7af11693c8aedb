"""The Hill estimator of a tail index, along a path of k.

    xi = (1/k) sum_{i<=k} log X_(i) - log X_(k+1),   tail index 1/xi   (Hill 1975),

X_(1) >= X_(2) >= ... For finite k its bias is large on t distributions, so that each path comes
with that of the true sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from t3vae.errors import MetricError
from t3vae.metrics.reference import Reference, Sample, entry, require_finite

__all__ = ["hill", "hill_interval", "path_entries", "path_ks"]


def hill(x: ArrayLike, k: int) -> float:
    """Return the Hill estimate 1/xi of the upper tail index from the k largest values.

    Args:
        x: sample ``[N]`` in any order.
        k: number of exceedances, 1 <= k < N; the k+1 largest values must be positive.

    Raises:
        MetricError: k out of range, values that are not finite or not positive, or no spread.

    Example:
        >>> round(hill([1.0, np.e, np.e**2], 2), 6)
        0.666667
    """
    values = require_finite(np.asarray(x, dtype=np.float64).ravel())
    if not 1 <= k < len(values):
        raise MetricError(f"k = {k}: must be at least 1 and less than the {len(values)} points.")
    largest = np.partition(values, len(values) - k - 1)[len(values) - k - 1 :]
    threshold = float(largest.min())
    if not threshold > 0:
        raise MetricError(f"k = {k}: reaches values that are not positive ({threshold:g}).")
    xi = float(np.log(largest / threshold).sum()) / k
    if not xi > 0:
        raise MetricError(f"k = {k}: the largest values are all equal.")
    return 1 / xi


def hill_interval(index: float, k: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the asymptotic interval of a tail index: sqrt(k) (xi_hat - xi) -> N(0, xi^2).

    Args:
        index: estimate 1/xi.
        k: number of exceedances.
        confidence: coverage, without the bias.

    Example:
        >>> [round(end, 3) for end in hill_interval(5.0, 100)]
        [4.02, 5.98]
    """
    half = float(special.ndtri(0.5 + confidence / 2) / np.sqrt(k))
    return index * max(0.0, 1 - half), index * (1 + half)


def path_ks(n: int, fraction: float, steps: int) -> list[int]:
    """Return k from floor(sqrt N) to floor(fraction N), geometrically spaced.

    Example:
        >>> path_ks(500_000, 0.01, 3)
        [707, 1880, 5000]
    """
    first, last = sorted((int(np.sqrt(n)), int(fraction * n)))
    first = max(first, 1)
    return sorted({round(k) for k in np.geomspace(first, max(first, last), steps)})


def path_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Entries ``hill`` of the samples and ``hill_reference`` of a true sample of equal size."""
    n = min(len(sample), len(reference))
    protocol = (
        f"Hill estimate from {n} points, {100 * options['confidence']:g} % asymptotic interval"
    )
    ks = [k for k in path_ks(n, options["fraction"], options["steps"]) if k < n]
    entries = []
    for name, whole in (("hill", sample), ("hill_reference", reference)):
        points = whole if len(whole) == n else Sample(whole.points[:n])
        shared = {"latent": None} if name == "hill_reference" else {}
        for view in sample.views():
            if not ks:
                reason = f"{n} points are too few for any k"
                record = entry(name, view, None, n, protocol, reason=reason)
                entries.append({**record, **shared})
            for k in ks:
                group = f"{view}:k={k}"
                try:
                    value = hill(points.upper(view, k + 1), k)
                except MetricError as error:
                    record = entry(name, group, None, n, protocol, reason=str(error))
                else:
                    low, high = hill_interval(value, k, options["confidence"])
                    record = entry(name, group, value, n, protocol, ci_low=low, ci_high=high)
                entries.append({**record, **shared})
    return entries
