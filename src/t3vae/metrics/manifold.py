"""Precision, recall, density and coverage: overlap of the supports of two sets of features.

Every set is described by closed balls around its points that reach to the k-th nearest
neighbour; where k more points are equal to one, its ball is the point itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t3vae.errors import MetricError
from t3vae.metrics.distances import centred, squared_distances
from t3vae.metrics.features import Features, unmeasured
from t3vae.metrics.reference import entry, pair, require_finite, subsample

__all__ = [
    "Overlap",
    "coverage_entries",
    "density_entries",
    "neighbour_radii",
    "overlap",
    "precision_entries",
    "recall_entries",
]

Array = NDArray[np.float64]
BLOCK = 1024
EDGE = 1 + 1e-8  # of a radius, so that rounding does not decide whether an equal distance is in


class Overlap(NamedTuple):
    """Four numbers of one pair of sets.

    Attributes:
        precision: share of generated points in some ball of the real points.
        recall: share of real points in some ball of the generated points.
        density: number of real balls that hold a generated point, over k; may exceed 1.
        coverage: share of real balls that hold a generated point.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_radii(points: ArrayLike, k: int, block: int = BLOCK) -> Array:
    """Return the squared distance of each point to its k-th nearest other point, [N].

    Args:
        points: [N, d] with N > k.
        k: which neighbour.
        block: rows whose distances are held at once.

    Raises:
        MetricError: no more than k points, or values that are not finite.

    Example:
        >>> neighbour_radii([[0.0], [1.0], [3.0]], 1)
        array([1., 1., 4.])
    """
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or len(array) <= k or k < 1:
        raise MetricError(f"points of shape {array.shape}: must be [N, d] with N > k = {k} >= 1.")
    (array,) = centred(require_finite(array, "features"))
    radii = np.empty(len(array))
    for start in range(0, len(array), block):
        rows = np.arange(start, min(start + block, len(array)))
        gaps = squared_distances(array[rows], array)
        gaps[np.arange(len(rows)), rows] = np.inf  # not its own neighbour
        radii[rows] = np.partition(gaps, k - 1, axis=1)[:, k - 1]
    return radii


def overlap(
    real: ArrayLike,
    generated: ArrayLike,
    k: int = 5,
    *,
    radii: tuple[Array, Array] | None = None,
    block: int = BLOCK,
) -> Overlap:
    r"""Return precision, recall, density and coverage.

    With balls :math:`B_k` to the k-th neighbour within the own set: precision
    :math:`\frac1M\sum_j 1[y_j\in\cup_iB_k(x_i)]`, recall with the sets exchanged, density
    :math:`\frac1{kM}\sum_{ij}1[y_j\in B_k(x_i)]`, coverage
    :math:`\frac1N\sum_i1[\exists j:y_j\in B_k(x_i)]`. Sources: Kynkaanniemi et al. 2019
    (precision, recall), Naeem et al. 2020 (density, coverage).

    Args:
        real: features of real images ``[N, d]``.
        generated: features of generated images ``[M, d]``.
        k: which neighbour bounds a ball.
        radii: :func:`neighbour_radii` of both, where they are known.
        block: rows of ``generated`` whose distances are held at once.

    Raises:
        MetricError: a set has no more than k points, another number of features, or values
            that are not finite.

    Example:
        >>> x = np.linspace(0.0, 1.0, 20)[:, None]
        >>> overlap(x, x, k=3)[:2]
        (1.0, 1.0)
    """
    x, y = centred(*pair(real, generated, fewest=k + 1, what="real and generated features"))
    real_radii, own_radii = radii or (neighbour_radii(x, k, block), neighbour_radii(y, k, block))
    real_radii, own_radii = real_radii * EDGE, own_radii * EDGE
    inside, hits = 0, 0
    covered, recalled = np.zeros(len(x), dtype=bool), np.zeros(len(x), dtype=bool)
    for start in range(0, len(y), block):
        gaps = squared_distances(y[start : start + block], x)
        within = gaps <= real_radii
        inside += int(within.any(1).sum())
        hits += int(within.sum())
        covered |= within.any(0)
        recalled |= (gaps <= own_radii[start : start + block, None]).any(0)
    return Overlap(
        inside / len(y), float(recalled.mean()), hits / (k * len(y)), float(covered.mean())
    )


def _entries(
    name: str,
    sample: Features,
    reference: Features,
    options: Mapping[str, Any],
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Return the entries of one of the four; the pair is compared once for all four."""
    k, most = options["neighbours"], options["points"]
    found = []
    for group in reference.shared_groups(sample):
        ours, theirs = _points(sample, group, most), _points(reference, group, most)
        if min(len(ours), len(theirs)) <= k:
            found.append(unmeasured(name, group, len(ours), k + 1, sample, reference))
            continue
        protocol = f"{sample.protocol(reference, group)}; balls to neighbour {k}"
        if len(ours) < len(sample.rows(group)) or len(theirs) < len(reference.rows(group)):
            protocol += f"; at most {most} of each"
        value, reason = None, None
        try:
            value = getattr(_overlap(sample, reference, group, k, most), name)
        except MetricError as error:
            reason = str(error)
        found.append(entry(name, group, value, len(ours), protocol, reason=reason))
    return found


precision_entries = partial(_entries, "precision")
recall_entries = partial(_entries, "recall")
density_entries = partial(_entries, "density")
coverage_entries = partial(_entries, "coverage")


def _overlap(sample: Features, reference: Features, group: str, k: int, most: int) -> Overlap:
    """Return all four numbers of a group, computed once for both sets."""

    def make() -> Overlap:
        ours, theirs = _points(sample, group, most), _points(reference, group, most)
        key = "radii", group, k, most
        radii = reference.keep(key, lambda: neighbour_radii(theirs, k)), neighbour_radii(ours, k)
        return overlap(theirs, ours, k, radii=radii)

    return sample.keep(("overlap", group, k, most, id(reference)), make)


def _points(features: Features, group: str, most: int) -> Array:
    """Return the points of a group; of a larger one always the same subset."""

    def make() -> Array:
        rows = features.rows(group)
        if len(rows) > most:
            rows = subsample(rows, most, np.random.default_rng(len(rows)))
        return rows.astype(np.float64)

    return features.keep(("points", group, most), make)
