"""What the latent space does: coordinates in use, and radii against those of a distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t3vae.errors import MetricError
from t3vae.metrics.reference import entry, require_finite

__all__ = [
    "ACTIVE_SHARE",
    "active_units",
    "entropy_entries",
    "radius_entries",
    "unit_entries",
]

ACTIVE_SHARE = 0.01
"""Smallest share of a distribution's variance at which a coordinate counts as used."""


def active_units(means: ArrayLike, variance: ArrayLike, share: float = ACTIVE_SHARE) -> int:
    r"""Return the number of latent coordinates whose posterior mean follows the data.

    Coordinate i is active where :math:`\mathrm{Var}_x\,E[z_i\mid x] > s\,v_i`, with the
    variance v of the distribution that the regularizer pulls encodings to, so that models with
    other latent scales are judged alike. Source: Burda et al. 2016 (with s = 0.01 and v = 1).

    Args:
        means: posterior means of data points, [N, m].
        variance: variance of the distribution in each coordinate, [m].
        share: s.

    Raises:
        MetricError: shapes that do not fit, or values that are not finite.

    Example:
        >>> active_units([[0.0, 1.0], [0.0, -1.0]], [1.0, 1.0])
        1
    """
    array, scale = np.asarray(means, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    if array.ndim != 2 or scale.shape != array.shape[1:]:
        raise MetricError(f"means of shape {array.shape} and variances of shape {scale.shape}.")
    require_finite(array, "means")
    require_finite(scale, "variances")
    return int((array.var(0) > share * scale).sum())


def _norms(points: ArrayLike) -> NDArray[np.float64]:
    return np.sqrt(np.square(np.asarray(points, dtype=np.float64)).sum(1))


def unit_entries(means: ArrayLike, distribution: ArrayLike) -> list[dict[str, Any]]:
    """Entry ``active_units``; ``distribution`` [M, m] is sampled from the encodings' target."""
    array = np.asarray(means, dtype=np.float64)
    low, high = np.quantile(
        np.asarray(distribution, dtype=np.float64), [0.158655, 0.841345], axis=0
    )
    protocol = (
        f"variance of posterior means of {len(array)} test images above {ACTIVE_SHARE:g} of "
        f"the squared scale of the distribution (half its central 68 %), "
        f"of {array.shape[1]} coordinates"
    )
    value, reason = None, None
    try:
        value = float(active_units(array, np.square(0.5 * (high - low))))
    except MetricError as error:
        reason = str(error)
    return [entry("active_units", "all", value, len(array), protocol, reason=reason)]


def radius_entries(
    encodings: ArrayLike, sample: ArrayLike, groups: Mapping[str, NDArray[np.intp]]
) -> list[dict[str, Any]]:
    """Entries ``latent_radius``: median norm of a group's encodings over that of the target."""
    norms, whole = _norms(encodings), float(np.median(_norms(sample)))
    protocol = (
        "median norm of training encodings over the median norm of samples of the distribution"
    )
    found = []
    for group, rows in groups.items():
        ratio, reason = None, None
        if not len(rows):
            reason = f"no training image in {group}"
        elif not whole > 0:
            reason = f"the median norm of samples of the distribution is {whole:g}"
        else:
            ratio = float(np.median(norms[rows])) / whole
        found.append(entry("latent_radius", group, ratio, len(rows), protocol, reason=reason))
    return found


def entropy_entries(weights: NDArray[np.float64] | None) -> list[dict[str, Any]]:
    r"""Entry ``entropy_weight``: mean factor w of the log-determinant in the encoder's slope.

    It is 1 for a KL divergence and less for t3VAE. A Gaussian VAE of weight :math:`w\beta` and
    prior variance :math:`w k^2` has the same slopes as one of weight :math:`\beta`, prior
    variance :math:`k^2` and an entropy term weighed with w.

    Args:
        weights: factors of test images, [N]; None for a regularizer that has several.
    """
    protocol = "mean over test images of exp(sum of log-variance excesses / M)"
    if weights is None:
        reason = "a regularizer of two levels has a factor for each"
        return [entry("entropy_weight", "all", None, 0, protocol, reason=reason)]
    return [entry("entropy_weight", "all", float(weights.mean()), len(weights), protocol)]
