"""Metrics: functions of arrays, each with its protocol.

A metric compares samples with a reference and returns entries: plain dictionaries with
``name``, ``group``, ``value``, ``n``, ``protocol`` and, where they exist, ``p_value``,
``null_sd``, ``se``, ``ci_low``, ``ci_high``. What cannot be computed has value None and a
``reason``. Modules are imported when their metric is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from t3vae.errors import MetricError
from t3vae.settings import catalogue
from t3vae.settings.metrics import METRICS

if TYPE_CHECKING:
    import numpy as np

    from t3vae.metrics.features import Features
    from t3vae.metrics.reference import Reference, Sample

__all__ = ["evaluate"]


def evaluate(
    name: str,
    sample: Sample | Features | np.ndarray,
    reference: Reference | Features,
    options: Mapping[str, Any],
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Return the entries of one metric.

    Args:
        name: a name of :data:`t3vae.settings.metrics.METRICS`.
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

    if name not in METRICS:
        raise MetricError(f"metric {name!r}: no such metric. Known metrics: {', '.join(METRICS)}.")
    sample = sample if isinstance(sample, Sample) else Sample(sample)
    if name != "log_likelihood" and sample.points.shape[1:] != reference.points.shape[1:]:
        raise MetricError(
            f"metric {name!r}: samples have shape {sample.points.shape}, "
            f"test points {reference.points.shape}; the columns must agree."
        )
    entries: list[dict[str, Any]] = catalogue.load(METRICS, name, "metric")(
        sample, reference, options_of(name, options), rng
    )
    return entries
