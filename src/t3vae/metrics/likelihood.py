"""Test log-likelihood by importance weighting, and reconstruction error.

    log p(x) ~ log (1/K) sum_k p(x, z_k) / q(z_k | x),   z_k ~ q(. | x)

(Burda, Grosse and Salakhutdinov, ICLR 2016): a lower bound on average, tight as K grows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from t3vae.errors import MetricError
from t3vae.metrics.reference import Reference, Sample, entry, mean_entry

__all__ = [
    "effective_sample_size",
    "likelihood_entries",
    "log_mean_weights",
    "reconstruction_entries",
]

Array = NDArray[np.floating[Any]]


def log_mean_weights(log_weights: ArrayLike) -> Array:
    """Return the logarithm of the mean importance weight of each point ``[B]``.

    Args:
        log_weights: log p(x, z) - log q(z | x) ``[K, B]``.

    Raises:
        MetricError: not two-dimensional.

    Example:
        >>> log_mean_weights([[0.0], [0.0]])
        array([0.])
    """
    weights = np.asarray(log_weights, dtype=np.float64)
    if weights.ndim != 2:
        raise MetricError(f"log_weights have shape {weights.shape}: must be [K, B].")
    return np.asarray(special.logsumexp(weights, axis=0) - np.log(len(weights)))


def effective_sample_size(log_weights: ArrayLike) -> Array:
    """Return (sum w)^2 / sum w^2 of each point ``[B]``.

    Example:
        >>> effective_sample_size([[0.0], [0.0]])
        array([2.])
    """
    weights = np.asarray(log_weights, dtype=np.float64)
    return np.exp(2 * special.logsumexp(weights, axis=0) - special.logsumexp(2 * weights, axis=0))


def likelihood_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Entries ``log_likelihood`` (mean over points) and ``log_likelihood_true``.

    ``samples`` hold the log weights ``[K, B]`` and ``reference`` the same B test points.
    """
    log_weights = sample.points
    count, n = log_weights.shape
    if n != len(reference):
        raise MetricError(f"log weights of {n} points for {len(reference)} test points.")
    size = float(np.median(effective_sample_size(log_weights)))
    protocol = f"importance weighted, K={count}, on {n} test points"
    entries = [mean_entry("log_likelihood", "all", log_mean_weights(log_weights), protocol)]
    share = f"median effective number of importance samples out of {count}"
    entries.append(entry("log_likelihood_ess", "all", size, n, share))
    if reference.distribution is not None:
        truth = reference.distribution.log_prob(reference.points.astype(np.float64))
        protocol = "true log density of the same test points"
        entries.append(
            {**mean_entry("log_likelihood_true", "all", truth, protocol), "latent": None}
        )
    return entries


def reconstruction_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Entry ``reconstruction_error``: mean of |x - x_hat|^2 over the first R test points.

    ``samples`` hold the reconstructions ``[R, d]`` of the first R rows of ``reference``.
    """
    count = len(sample)
    if count > len(reference):
        raise MetricError(f"{count} reconstructions for {len(reference)} test points.")
    gaps = sample.points.astype(np.float64) - reference.points[:count]
    protocol = f"mean squared distance of the first {count} test points"
    return [mean_entry("reconstruction_error", "all", np.square(gaps).sum(1), protocol)]
