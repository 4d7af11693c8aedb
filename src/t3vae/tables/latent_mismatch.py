"""The aggregate posterior against each latent distribution, in latent space.

The distance is the two-sample Kolmogorov-Smirnov statistic, the largest over coordinates:
zero says that decoding samples of the distribution is like decoding encoded data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from t3vae.metrics.goodness import kolmogorov_smirnov_two_sample
from t3vae.tables.csv_files import rounded_edges, significant

__all__ = ["AGGREGATE_COLUMNS", "MISMATCH_COLUMNS", "densities", "mismatch", "mismatch_row"]

Array = np.ndarray
AGGREGATE_COLUMNS = ("model", "seed", "latent", "left", "right", "density")
MISMATCH_COLUMNS = ("model", "latent", "mean", "minimum", "maximum", "seeds")
BINS = 72


def mismatch(a: Array, b: Array) -> float:
    """Return the largest Kolmogorov-Smirnov distance over the columns of two samples.

    Args:
        a: first sample [N, m].
        b: second sample [M, m].

    Raises:
        MetricError: a value is not finite.

    Example:
        >>> mismatch(np.zeros((5, 1)), np.ones((4, 1)))
        1.0
    """
    return max(kolmogorov_smirnov_two_sample(*columns)[0] for columns in zip(a.T, b.T, strict=True))


def mismatch_row(model: str, latent: str, values: list[float]) -> dict[str, Any]:
    """Return the row of one model and distribution over seeds."""
    spread = (significant(v) for v in (float(np.mean(values)), min(values), max(values)))
    return dict(zip(MISMATCH_COLUMNS, (model, latent, *spread, len(values)), strict=True))


def densities(
    model: str, seed: int, aggregate: Array, latents: Mapping[str, Array]
) -> Iterator[dict[str, Any]]:
    """Yield histogram densities of the first latent coordinate of one seed.

    One seed and not the mean of several: the sign of a latent coordinate is arbitrary, so a
    mean over seeds would mix a distribution with its mirror image.

    Args:
        model: name of the model.
        seed: the seed shown.
        aggregate: one encoding of each training point [M, m].
        distributions: samples of each latent distribution [N, m].
    """
    first = np.asarray(aggregate[:, 0], dtype=np.float64)
    low, middle, high = np.quantile(first, [1e-4, 0.5, 1 - 1e-4])
    half = 1.3 * max(high - middle, middle - low, 1e-6 * abs(middle), 1e-12)
    edges = rounded_edges(np.linspace(middle - half, middle + half, BINS + 1), 5)
    for name, sample in {"aggregate": aggregate, **latents}.items():
        counts = np.diff(np.searchsorted(np.sort(sample[:, 0]), edges))
        density = counts / (len(sample) * np.diff(edges))
        for i in range(BINS):
            ends = float(edges[i]), float(edges[i + 1])
            row = model, seed, name, *ends, significant(float(density[i]))
            yield dict(zip(AGGREGATE_COLUMNS, row, strict=True))
