"""The Frechet distance between normal distributions: features -> statistics -> distance.

Statistics are means and covariances in float64, gathered block by block. Of a covariance S
only a factor B with S = B B^T is needed: the trace of the root of S1 S2 is the sum of the
singular values of B1^T B2. The product S1 S2, whose small eigenvalues lose half of their
digits, is never formed. Between sets with fewer points than features (a class, a rare
attribute) the factors are the points themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import svdvals
from scipy.linalg.lapack import dpstrf

from t3vae.errors import MetricError
from t3vae.metrics.features import Features, few_points, unmeasured
from t3vae.metrics.reference import entry, pair, require_finite

__all__ = [
    "Statistics",
    "classifier_entries",
    "frechet_distance",
    "frechet_distance_of_points",
    "inception_entries",
]

BLOCK = 8192


class Statistics:
    """Mean and covariance of points that arrive in blocks, in float64.

    Blocks are merged by the update of Chan, Golub & LeVeque 1979, which does not lose the
    covariance of features whose mean is large; means are kept from the first point on, so that
    two large ones keep the digits of their difference.

    Args:
        dim: number of features.

    Example:
        >>> whole = Statistics(1)
        >>> whole.update(np.array([[1.0], [2.0]])); whole.update(np.array([[3.0]]))
        >>> whole.count, float(whole.mean[0]), float(whole.covariance[0, 0])
        (3, 2.0, 1.0)
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self._origin: NDArray[np.float64] = np.zeros(dim)
        self._shift: NDArray[np.float64] = np.zeros(dim)
        self._scatter: NDArray[np.float64] = np.zeros((dim, dim))

    @classmethod
    def of(cls, points: ArrayLike, block: int = BLOCK) -> Statistics:
        """Return the statistics of points ``[N, d]``, read in blocks."""
        array = np.asarray(points)
        if array.ndim != 2:
            raise MetricError(f"features of shape {array.shape}: must be [N, d].")
        found = cls(array.shape[1])
        for start in range(0, len(array), block):
            found.update(array[start : start + block])
        return found

    def update(self, block: ArrayLike) -> None:
        """Add points ``[B, d]``.

        Raises:
            MetricError: another number of features, or a value that is not finite.
        """
        points = np.array(block, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != len(self._shift):
            raise MetricError(
                f"features of shape {points.shape}: must be [B, {len(self._shift)}], "
                "as in the blocks before."
            )
        if not len(points):
            return
        if not self.count:
            self._origin = points[0].copy()
        points -= self._origin
        mean = points.mean(0)
        if not np.isfinite(mean).all():
            require_finite(np.asarray(block, dtype=np.float64), "features")
            raise MetricError("features are too large: their sum is no number.")
        points -= mean
        step = mean - self._shift
        total = self.count + len(points)
        self._scatter += points.T @ points
        self._scatter += np.outer(step, step) * (self.count * len(points) / total)
        self._shift = self._shift + step * (len(points) / total)
        self.count = total
        self.__dict__.pop("factor", None)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean, [d]."""
        return self._origin + self._shift

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance ``[d, d]``, divided by N - 1.

        Raises:
            MetricError: fewer than two points.
        """
        if self.count < 2:
            raise MetricError(f"covariance of {self.count} points: needs at least 2.")
        return self._scatter / (self.count - 1)

    @cached_property
    def factor(self) -> NDArray[np.float64]:
        """Matrix B ``[d, r]`` with covariance = B B^T; kept, since one set meets many."""
        return _factor(self.covariance, "covariance")

    def distance(self, other: Statistics) -> float:
        """Return the squared Frechet distance to other statistics."""
        if self._shift.shape != other._shift.shape:
            raise MetricError(
                f"frechet_distance: {len(self._shift)} and {len(other._shift)} features; both "
                "sets must come from one extractor."
            )
        gap = (self._origin - other._origin) + (self._shift - other._shift)
        return _distance(gap, self.factor, other.factor)


def frechet_distance(mu1: ArrayLike, sigma1: ArrayLike, mu2: ArrayLike, sigma2: ArrayLike) -> float:
    r"""Return the squared Frechet (2-Wasserstein) distance between two normal distributions.

    .. math:: \|\mu_1-\mu_2\|^2 + \mathrm{tr}\big(S_1+S_2-2(S_1S_2)^{1/2}\big)

    With :math:`S_i=B_iB_i^T` the trace of the root is the sum of the singular values of
    :math:`B_1^TB_2`, so the result is real, also for covariances that are rank-deficient.
    Source: Dowson & Landau 1982; Heusel et al. 2017.

    Args:
        mu1, mu2: means, [d].
        sigma1, sigma2: covariance matrices, [d, d].

    Raises:
        MetricError: if shapes disagree, a value is not finite or a covariance is not
            symmetric and positive semi-definite.

    Example:
        >>> frechet_distance([0.0, 0.0], np.eye(2), [3.0, 4.0], np.eye(2))
        25.0
    """
    mean1, mean2 = (np.atleast_1d(np.asarray(mu, dtype=np.float64)) for mu in (mu1, mu2))
    cov1 = _covariance(sigma1, len(mean1), "sigma1")
    cov2 = _covariance(sigma2, len(mean2), "sigma2")
    if mean1.shape != mean2.shape or mean1.ndim != 1:
        raise MetricError(
            f"frechet_distance: means of shapes {mean1.shape} and {mean2.shape}; both must be [d]."
        )
    return _distance(mean1 - mean2, _factor(cov1, "sigma1"), _factor(cov2, "sigma2"))


def frechet_distance_of_points(a: ArrayLike, b: ArrayLike) -> float:
    r"""Return the squared Frechet distance of the normal distributions fitted to two sets.

    With centred points :math:`A,B` divided by :math:`\sqrt{n-1}` the covariances are
    :math:`A^TA` and :math:`B^TB`, and :math:`\mathrm{tr}(S_1S_2)^{1/2}` is the sum of the
    singular values of :math:`AB^T`. Nothing is squared, so few points in many dimensions
    lose no digits.

    Args:
        a, b: points ``[N, d]`` and ``[M, d]``, at least two each.

    Raises:
        MetricError: fewer than two points, other numbers of features, values not finite.

    Example:
        >>> round(frechet_distance_of_points([[0.0], [2.0]], [[3.0], [5.0]]), 12)
        9.0
    """
    first, second = pair(a, b, what="frechet_distance: sets")
    first, second = first - first[0], second - first[0]
    factors = []
    for points in (first, second):
        centred = (points - points.mean(0)) / np.sqrt(len(points) - 1)
        few = len(centred) <= centred.shape[1]
        factors.append((centred if few else np.linalg.qr(centred)[1]).T)
    return _distance(first.mean(0) - second.mean(0), factors[0], factors[1])


def _entries(
    name: str,
    sample: Features,
    reference: Features,
    options: Mapping[str, Any],
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Entries of the distance under a name that says whose features these are."""
    found = []
    for group in reference.shared_groups(sample):
        ours, theirs = sample.rows(group), reference.rows(group)
        n = min(len(ours), len(theirs))
        if n < 2:
            found.append(unmeasured(name, group, len(ours), 2, sample, reference))
            continue
        protocol = sample.protocol(reference, group)
        flag = few_points(n, sample.dim)
        value, reason = None, None
        try:
            if n <= sample.dim:
                value = max(frechet_distance_of_points(theirs, ours), 0.0)
            else:
                key = "statistics", group
                truth = reference.keep(key, partial(Statistics.of, theirs))
                value = max(truth.distance(sample.keep(key, partial(Statistics.of, ours))), 0.0)
        except MetricError as error:
            reason, flag = str(error), None
        more = {"reason": reason, "flag": flag}
        found.append(entry(name, group, value, len(ours), protocol, **more))
    return found


classifier_entries = partial(_entries, "frechet_distance_classifier")
inception_entries = partial(_entries, "fid")  # Inception-v3 in the FID convention


def _distance(
    gap: NDArray[np.float64], factor1: NDArray[np.float64], factor2: NDArray[np.float64]
) -> float:
    traces = np.square(factor1).sum() + np.square(factor2).sum()
    product = factor1.T @ factor2
    if not np.isfinite(traces) or not np.isfinite(product).all():
        raise MetricError("frechet_distance: the features are too large for their squares.")
    return float(gap @ gap + traces - 2 * svdvals(product).sum())


def _covariance(matrix: ArrayLike, d: int, name: str) -> NDArray[np.float64]:
    array = np.atleast_2d(np.asarray(matrix, dtype=np.float64))
    if array.shape != (d, d):
        raise MetricError(f"frechet_distance: {name} has shape {array.shape}; it must be {(d, d)}.")
    if not np.isfinite(array).all():
        raise MetricError(f"frechet_distance: {name} has values that are not finite.")
    if not np.allclose(array, array.T, rtol=1e-6, atol=1e-8 * np.abs(array).max()):
        raise MetricError(f"frechet_distance: {name} is not symmetric.")
    return 0.5 * (array + array.T)


def _factor(cov: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return B ``[d, r]`` with covariance = B B^T, by Cholesky's method with pivots.

    It ends where what is left is rounding, so that B has as many columns as the rank.
    """
    packed, pivots, rank, _ = dpstrf(cov, lower=1)
    factor = np.zeros((len(cov), rank))
    factor[pivots - 1] = np.tril(packed)[:, :rank]
    left = np.abs(cov - factor @ factor.T).max()
    if left > 1e-6 * np.abs(cov).max():
        raise MetricError(
            f"frechet_distance: {name} has an eigenvalue below zero (of the order of {-left:.3g}); "
            "a covariance has none."
        )
    return factor
