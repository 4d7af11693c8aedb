"""Squared distances between the rows of two arrays, right wherever the points lie.

The quick form |a|^2 + |b|^2 - 2 a.b loses all digits where points lie further from zero than
from each other. Points are therefore counted from a common centre, and pairs that are still
close for their distance from it are taken by differences.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t3vae.errors import MetricError

__all__ = ["centred", "squared_distances"]

Array = NDArray[np.floating[Any]]

FEW_COLUMNS = 8  # up to which differences are as quick as products
FARTHEST = 1e150
CLOSE = 1e-6  # share of |a|^2 + |b|^2 below which the products have lost too many digits


def centred(*sets: ArrayLike) -> list[NDArray[np.float64]]:
    """Return sets of points ``[N, d]`` in float64, counted from the median of the first.

    Raises:
        MetricError: a point is so far away that its squared distance is no number.

    Example:
        >>> [points.tolist() for points in centred([[5.0], [7.0]], [[6.0]])]
        [[[-1.0], [1.0]], [[0.0]]]
    """
    arrays = [np.asarray(points, dtype=np.float64) for points in sets]
    if not len(arrays[0]):
        return arrays
    middle = np.median(arrays[0], axis=0)
    found = [points - middle for points in arrays]
    reach = max(float(np.abs(points).max(initial=0.0)) for points in found)
    if reach > FARTHEST:
        raise MetricError(f"values up to {reach:.3g} are too large for squared distances.")
    return found


def squared_distances(x: Array, y: Array) -> Array:
    """Return the squared distance of each row of ``x`` to each row of ``y``.

    Args:
        x: points ``[N, d]``, best :func:`centred` together with ``y``.
        y: points ``[M, d]``.

    Returns:
        ``[N, M]``, in float64; in the type of the points where they have few columns. Equal
        points are at distance 0.

    Example:
        >>> far = np.full((2, 9), 1e8)
        >>> far[1, 0] += 3
        >>> squared_distances(far, far).tolist()
        [[0.0, 9.0], [9.0, 0.0]]
    """
    if x.shape[1] <= FEW_COLUMNS:
        total = np.square(np.subtract.outer(x[:, 0], y[:, 0]))
        for column in range(1, x.shape[1]):
            total += np.square(np.subtract.outer(x[:, column], y[:, column]))
        return total
    x, y = x.astype(np.float64, copy=False), y.astype(np.float64, copy=False)
    squares = np.square(x).sum(1)[:, None] + np.square(y).sum(1)
    total = squares - 2 * (x @ y.T)
    squares *= CLOSE
    for row in np.flatnonzero((total < squares).any(1)):
        near = np.flatnonzero(total[row] < squares[row])
        total[row, near] = np.square(y[near] - x[row]).sum(1)
    return total
