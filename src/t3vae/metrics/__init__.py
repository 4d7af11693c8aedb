"""Metrics: functions of arrays, each with its protocol.

A metric compares samples with a reference and returns entries: plain dictionaries with
``name``, ``group``, ``value``, ``n``, ``protocol`` and, where they exist, ``p_value``,
``null_sd``, ``se``, ``ci_low``, ``ci_high``. What cannot be computed has value None and a
``reason``. Modules are imported when their metric is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from t3vae.errors import MetricError

if TYPE_CHECKING:
    import numpy as np

    from t3vae.metrics.features import Features
    from t3vae.metrics.reference import Reference, Sample

__all__ = ["FROM_MODEL", "OF_FEATURES", "REGISTRY", "evaluate"]

REGISTRY = {
    "mmd_linear": "t3vae.metrics.two_sample:linear_entries",
    "mmd": "t3vae.metrics.two_sample:unbiased_entries",
    "ks": "t3vae.metrics.goodness:kolmogorov_smirnov_entries",
    "anderson_darling": "t3vae.metrics.goodness:anderson_darling_entries",
    "ksd": "t3vae.metrics.stein:discrepancy_entries",
    "tail_mass_ratio": "t3vae.metrics.tail:mass_ratio_entries",
    "tail_quantile_error": "t3vae.metrics.tail:quantile_entries",
    "hill": "t3vae.metrics.hill:path_entries",
    "expected_shortfall": "t3vae.metrics.tail:shortfall_entries",
    "log_likelihood": "t3vae.metrics.likelihood:likelihood_entries",
    "reconstruction_error": "t3vae.metrics.likelihood:reconstruction_entries",
    "frechet_distance_classifier": "t3vae.metrics.frechet:classifier_entries",
    "fid": "t3vae.metrics.frechet:inception_entries",
    "kid": "t3vae.metrics.kid:kid_entries",
    "precision": "t3vae.metrics.manifold:precision_entries",
    "recall": "t3vae.metrics.manifold:recall_entries",
    "density": "t3vae.metrics.manifold:density_entries",
    "coverage": "t3vae.metrics.manifold:coverage_entries",
    "class_f1": "t3vae.metrics.per_class:f1_entries",
    "class_mass": "t3vae.metrics.per_class:mass_entries",
    "active_units": "t3vae.metrics.latent_space:unit_entries",
    "latent_radius": "t3vae.metrics.latent_space:radius_entries",
    "entropy_weight": "t3vae.metrics.latent_space:entropy_entries",
}

#: Metrics whose samples are made by the model on test points, once and not for each latent
#: distribution.
FROM_MODEL = ("log_likelihood", "reconstruction_error")

#: Metrics of features of images; both sets are :class:`t3vae.metrics.features.Features`.
OF_FEATURES = (
    "frechet_distance_classifier",
    "fid",
    "kid",
    "precision",
    "recall",
    "density",
    "coverage",
    "class_f1",
    "class_mass",
)


def evaluate(
    name: str,
    sample: Sample | Features | np.ndarray,
    reference: Reference | Features,
    options: Mapping[str, Any],
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Return the entries of one metric.

    Args:
        name: a name of :data:`REGISTRY`.
        samples: generated points ``[N, d]``; for ``log_likelihood`` the logarithms of the
            importance weights ``[K, B]``, for ``reconstruction_error`` the reconstructions
            ``[R, d]``, for metrics of images their features.
        reference: test points and, where it is known, their distribution.
        options: the evaluation block: shared options at its top, then one mapping a metric.
        rng: generator of this metric.

    Raises:
        MetricError: no such metric, or arrays that do not fit each other.
    """
    from t3vae.metrics.reference import Sample, options_of

    if name not in REGISTRY:
        raise MetricError(f"metric {name!r}: no such metric. Known metrics: {', '.join(REGISTRY)}.")
    module, _, function = REGISTRY[name].partition(":")
    sample = sample if hasattr(sample, "points") else Sample(sample)
    if name != "log_likelihood" and sample.points.shape[1:] != reference.points.shape[1:]:
        raise MetricError(
            f"metric {name!r}: samples have shape {sample.points.shape}, "
            f"test points {reference.points.shape}; the columns must agree."
        )
    entries: list[dict[str, Any]] = getattr(import_module(module), function)(
        sample, reference, options_of(name, options), rng
    )
    return entries
