"""Kernel Stein discrepancy with the inverse multiquadric kernel.

    k(x, y) = (c^2 + |x - y|^2)^beta,  -1 < beta < 0   (Gorham and Mackey, ICML 2017).

The scores of t distributions vanish at infinity, so that this discrepancy is weak exactly in the
tails: it judges the bulk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t3vae.errors import MetricError
from t3vae.metrics.distances import centred
from t3vae.metrics.reference import Reference, Sample, entry, require_finite, subsample

__all__ = ["discrepancy_entries", "ksd_imq_rows"]

Array = NDArray[np.floating[Any]]

BLOCK = 1024


def ksd_imq_rows(x: ArrayLike, score: ArrayLike, *, c: float = 1.0, beta: float = -0.5) -> Array:
    """Return the mean of u(x_i, x_j) over j != i for each i; its mean is the U-statistic.

    With D = x - y, r = |D|, B = c^2 + r^2, s the score of the target, d the dimension:
    u(x, y) = B^beta s_x.s_y - 2 beta B^(beta-1) (s_x - s_y).D - 2 beta d B^(beta-1)
    - 4 beta (beta - 1) r^2 B^(beta-2). The mean is the squared discrepancy.

    Args:
        x: points ``[N, d]``.
        score: gradient of the target's log density at the points ``[N, d]``.
        c: scale of the kernel.
        beta: exponent of the kernel.

    Raises:
        MetricError: fewer than two points, shapes that differ, or values that are not finite.

    Example:
        >>> ksd_imq_rows([[0.0], [1.0]], [[0.0], [-1.0]]).round(6)
        array([-0.53033, -0.53033])
    """
    points = np.asarray(x, dtype=np.float64)
    scores = np.asarray(score, dtype=np.float64)
    if points.ndim == 1:
        points, scores = points[:, None], scores.reshape(-1, 1)
    n, d = points.shape
    if scores.shape != points.shape:
        raise MetricError(
            f"score has shape {scores.shape}, points {points.shape}: they must agree."
        )
    if n < 2:
        raise MetricError(f"{n} points: at least 2 are needed.")
    require_finite(points)
    require_finite(scores, "scores")
    (points,) = centred(points)  # only differences count, and far from zero they would cancel
    own = np.einsum("ij,ij->i", scores, points)
    own_term = -2 * beta * d * c ** (2 * beta - 2)  # u(x, x) without the product of scores
    diagonal = c ** (2 * beta) * np.square(scores).sum(1) + own_term
    rows = np.empty(n)
    for start in range(0, n, BLOCK):
        block = slice(start, min(start + BLOCK, n))
        square = np.zeros((block.stop - block.start, n))
        for column in range(d):
            square += np.square(np.subtract.outer(points[block, column], points[:, column]))
        # (s_x - s_y).(x - y) = s_x.x + s_y.y - s_x.y - s_y.x
        cross = own[block, None] + own - scores[block] @ points.T - points[block] @ scores.T
        base = square + c * c
        power = base ** (beta - 1)
        u = scores[block] @ scores.T
        u *= base
        u -= 2 * beta * (cross + d)
        square /= base
        u -= 4 * beta * (beta - 1) * square
        u *= power
        rows[block] = u.sum(1)
    return (rows - diagonal) / (n - 1)


def discrepancy_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Entries ``ksd``: U-statistic with the standard error of its first-order projection."""
    protocol = (
        f"U-statistic, {options['points']} samples, inverse multiquadric kernel "
        f"c={options['c']:g} beta={options['beta']:g}; bulk only"
    )
    points = subsample(sample.points, options["points"], rng).astype(np.float64)
    if reference.distribution is None:
        reason = "the score of the data's distribution is not known"
        return [entry("ksd", "all", None, len(points), protocol, reason=reason)]
    try:
        score = reference.distribution.score(points)
        rows = ksd_imq_rows(points, score, c=options["c"], beta=options["beta"])
    except MetricError as error:
        return [entry("ksd", "all", None, len(points), protocol, reason=str(error))]
    se = float(2 * rows.std(ddof=1) / np.sqrt(len(rows)))
    return [entry("ksd", "all", float(rows.mean()), len(points), protocol, se=se)]
