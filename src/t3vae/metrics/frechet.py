"""The Frechet distance between normal laws, from means and covariances."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from t3vae.errors import MetricError

__all__ = ["frechet_distance"]


def frechet_distance(mu1: ArrayLike, sigma1: ArrayLike, mu2: ArrayLike, sigma2: ArrayLike) -> float:
    r"""Return the squared Frechet (2-Wasserstein) distance between two normal laws.

    .. math:: \|\mu_1-\mu_2\|^2 + \mathrm{tr}\big(S_1+S_2-2(S_1S_2)^{1/2}\big)

    The trace of the root is the sum of the square roots of the eigenvalues of the symmetric
    matrix :math:`S_1^{1/2}S_2S_1^{1/2}`, so the result is real, also for covariances that are
    rank-deficient. Source: Dowson & Landau 1982; Heusel et al. 2017.

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
    difference = mean1 - mean2
    values, vectors = eigh(cov1)
    root = vectors * _roots(values, "sigma1")
    product = root.T @ cov2 @ root
    trace_root = _roots(eigh(0.5 * (product + product.T), eigvals_only=True), "sigma2").sum()
    return float(difference @ difference + np.trace(cov1) + np.trace(cov2) - 2 * trace_root)


def _covariance(matrix: ArrayLike, d: int, name: str) -> NDArray[np.float64]:
    array = np.atleast_2d(np.asarray(matrix, dtype=np.float64))
    if array.shape != (d, d):
        raise MetricError(f"frechet_distance: {name} has shape {array.shape}; it must be {(d, d)}.")
    if not np.isfinite(array).all():
        raise MetricError(f"frechet_distance: {name} has values that are not finite.")
    if not np.allclose(array, array.T, rtol=1e-6, atol=1e-8 * np.abs(array).max()):
        raise MetricError(f"frechet_distance: {name} is not symmetric.")
    return 0.5 * (array + array.T)


def _roots(eigenvalues: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return square roots; eigenvalues that are zero but for rounding give exactly zero."""
    smallest, largest = float(eigenvalues[0]), float(np.abs(eigenvalues).max())
    if smallest < -1e-6 * largest:
        raise MetricError(
            f"frechet_distance: {name} has the eigenvalue {smallest:.3g}; a covariance has none "
            "below zero."
        )
    rounding = 16 * np.finfo(np.float64).eps * largest
    return np.sqrt(np.where(eigenvalues > rounding, eigenvalues, 0.0))
