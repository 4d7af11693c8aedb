"""The MMD metrics of one run: all points and both tails, by the tests of the kernel module.

A tail test compares the points beyond a threshold only; how many there are is the matter of
:mod:`t3vae.metrics.tail`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t3vae.errors import MetricError
from t3vae.metrics.kernel import MMDResult, mmd_linear_test, mmd_unbiased_test
from t3vae.metrics.reference import Reference, Sample, entry, subsample

__all__ = ["linear_entries", "unbiased_entries"]

Array = NDArray[np.floating[Any]]
Generator = np.random.Generator


def linear_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: Generator
) -> list[dict[str, Any]]:
    """Entries ``mmd_linear`` of all points and of both tails."""
    null = {"sign_flip": "exchanges within rows", "permutation": "uniform splits"}
    protocol = (
        f"linear-time MMD2, up to {options['points']} points each, upper-median bandwidth, "
        f"{options['permutations']} {null[options['null_distribution']]}"
    )
    test = partial(mmd_linear_test, null=options["null_distribution"])
    return _entries("mmd_linear", protocol, test, sample, reference, options, rng)


def unbiased_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: Generator
) -> list[dict[str, Any]]:
    """Entries ``mmd`` of all points and of both tails."""
    protocol = (
        f"unbiased MMD2, up to {options['points']} points each, median bandwidth of "
        f"{options['bandwidth_points']} pooled points, {options['permutations']} permutations"
    )
    test = partial(mmd_unbiased_test, bandwidth_points=options["bandwidth_points"])
    return _entries("mmd", protocol, test, sample, reference, options, rng)


def _entries(
    name: str,
    protocol: str,
    test: Callable[..., MMDResult],
    sample: Sample,
    reference: Reference,
    options: Mapping[str, Any],
    rng: Generator,
) -> list[dict[str, Any]]:
    ours = {"all": sample.points, **sample.tails(options["threshold"])}
    truth = {"all": reference.points, **reference.tails(options["threshold"])}
    entries = []
    for group, points in ours.items():
        counts = len(points), len(truth[group])
        where = "" if group == "all" else f", {group} beyond {options['threshold']:g}"
        try:
            a, b = (subsample(x, options["points"], rng) for x in (points, truth[group]))
            result = test(a, b, permutations=options["permutations"], rng=rng)
        except MetricError as error:
            reason = f"{counts[0]} generated and {counts[1]} test points: {error}"
            entries.append(entry(name, group, None, min(counts), protocol + where, reason=reason))
            continue
        more = {"p_value": result.p_value, "null_sd": result.null_sd}
        entries.append(entry(name, group, result.value, result.n, protocol + where, **more))
    return entries
