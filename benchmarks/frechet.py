"""Frechet statistics and distance of 2048 features, beside torch-fidelity.

The authors' code has no Frechet distance of its own: it calls torchmetrics, whose present
release takes the eigenvalues of S1 S2, as torch-fidelity does.
"""

from __future__ import annotations

import numpy as np
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from benchmarks.timing import Row, compare
from t3vae.metrics.frechet import Statistics

__all__ = ["DIM", "rows"]

DIM = 2048


def rows(count: int, *, repeats: int = 3) -> list[Row]:
    """Return the rows: statistics of one set, and the distance between two.

    Args:
        count: rows of features in each set.
        repeats: runs that are counted.
    """
    rng = np.random.default_rng(0)
    scales = 10.0 ** -np.linspace(0, 3, DIM, dtype=np.float32)
    first = np.maximum(0, rng.normal(size=(count, DIM)).astype(np.float32) + 0.5) * scales
    second = np.maximum(0, rng.normal(size=(min(count, 4 * DIM), DIM)).astype(np.float32)) * scales
    ours = [Statistics.of(points) for points in (first, second)]
    theirs = [fid_features_to_statistics(torch.from_numpy(points)) for points in (first, second)]

    def distance() -> float:
        for statistics in ours:
            statistics.__dict__.pop("factor", None)  # kept between calls
        return ours[0].distance(ours[1])

    return [
        compare(
            f"Frechet statistics of {count:,} x {DIM} features",
            lambda: Statistics.of(first),
            lambda: fid_features_to_statistics(torch.from_numpy(first)),
            repeats=repeats,
            note="reference: torch-fidelity",
        ),
        compare(
            f"Frechet distance of two sets of statistics, {DIM} features",
            distance,
            lambda: fid_statistics_to_metric(*theirs, verbose=False),
            repeats=repeats,
            note="reference: torch-fidelity",
        ),
    ]
