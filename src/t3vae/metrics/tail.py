"""Tails: how much mass, how far out, how heavy beyond.

A conditional comparison of tail points does not see how many there are; these metrics do.
In one dimension the tails are x < -t and x > t; in more, |x| > t by the sign of the first
column for masses, and the norm for quantiles and expected shortfall.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import special

from t3vae.metrics.reference import Reference, Sample, entry

__all__ = [
    "clopper_pearson",
    "mass_ratio_entries",
    "quantile_entries",
    "ratio_interval",
    "shortfall_entries",
]

Generator = np.random.Generator


def clopper_pearson(count: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a binomial probability.

    Args:
        count: successes.
        n: trials.
        confidence: coverage of the two-sided interval.

    Example:
        >>> [round(end, 6) for end in clopper_pearson(0, 10)]
        [0.0, 0.308497]
    """
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(special.betaincinv(count, n - count + 1, tail))
    high = 1.0 if count == n else float(special.betaincinv(count + 1, n - count, 1 - tail))
    return low, high


def ratio_interval(
    count: int, n: int, other: int, m: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return an interval of the ratio of two small probabilities from two samples.

    Given the total, ``count`` is binomial with probability n r / (n r + m) (Poisson counts), so
    that a Clopper-Pearson interval of it turns into one of the ratio r.

    Args:
        count: exceedances among ``n`` points.
        n: size of the first sample.
        other: exceedances among ``m`` points of the second sample.
        m: size of the second sample.
        confidence: coverage.
    """
    low, high = clopper_pearson(count, count + other, confidence)
    return (
        low / (1 - low) * m / n if low < 1 else float("inf"),
        high / (1 - high) * m / n if high < 1 else float("inf"),
    )


def mass_ratio_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: Generator
) -> list[dict[str, Any]]:
    """Entries ``tail_mass_ratio``: share of samples in each tail over the true probability."""
    threshold, confidence = options["threshold"], options["confidence"]
    name, n, m = "tail_mass_ratio", len(sample), len(reference)
    interval = f"{100 * confidence:g} % Clopper-Pearson interval"
    exact = reference.distribution
    if exact is not None:
        protocol = f"mass beyond {threshold:g} over the exact probability, {interval}"
        truths = exact.tail_probability(threshold)
    else:
        protocol = f"mass beyond {threshold:g} over that of the test points, {interval}"
        protocol += " given the total"
        beyond = {group: len(points) for group, points in reference.tails(threshold).items()}
        truths = {group: count / m for group, count in beyond.items()}
    entries = []
    for group, points in sample.tails(threshold).items():
        count, truth, tail = len(points), truths[group], group.replace("_", " ")
        if not truth > 0:
            reason = f"the {tail} has no mass that a number can hold"
            if exact is None:
                reason = f"no test point lies in the {tail}"
            entries.append(entry(name, group, None, n, protocol, reason=reason))
            continue
        if exact is not None:
            low, high = (end / truth for end in clopper_pearson(count, n, confidence))
        else:
            low, high = ratio_interval(count, n, beyond[group], m, confidence)
        value = count / n / truth
        entries.append(entry(name, group, value, n, protocol, ci_low=low, ci_high=high))
    return entries


def quantile_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: Generator
) -> list[dict[str, Any]]:
    """Entries ``tail_quantile_error``: |q - q_true| / |q_true| at levels p and 1 - p.

    The p-quantile of the samples is the largest of those with at least a share p beyond them.
    """

    def group(view: str, p: float) -> str:
        level = p if view == "left_tail" else 1 - p
        return f"{'norm:' if view == 'norm' else ''}p={level:.10g}"

    exact = reference.distribution and reference.distribution.tail_quantile
    return _relative("tail_quantile_error", "quantile", group, sample, reference, options, exact)


def shortfall_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: Generator
) -> list[dict[str, Any]]:
    """Entries ``expected_shortfall``: relative error of the mean of the worst share p."""

    def group(view: str, p: float) -> str:
        return f"{view}:p={p:.10g}"

    exact = reference.distribution and reference.distribution.tail_mean
    return _relative("expected_shortfall", "shortfall", group, sample, reference, options, exact)


def _relative(
    name: str,
    what: str,
    group_of: Callable[[str, float], str],
    sample: Sample,
    reference: Reference,
    options: Mapping[str, Any],
    exact: Callable[[str, float], float] | None,
) -> list[dict[str, Any]]:
    """Return relative errors of a quantile or shortfall, for each view and level."""

    def measure(points: Sample, view: str, p: float) -> float | None:
        rank = int(np.floor(len(points) * p + 1e-9))
        worst = points.upper(view, rank)
        if rank == 0:
            return None
        return float(worst[-1] if what == "quantile" else worst.mean())

    source = "the test points" if exact is None else "the exact distribution"
    protocol = f"relative error against {source}"
    entries = []
    for view in sample.views():
        for p in sorted(options["levels"]):
            found = measure(sample, view, p)
            truth = measure(reference, view, p) if exact is None else float(exact(view, p))
            value, reason = None, None
            if found is None or truth is None:
                who = len(sample if found is None else reference)
                reason = f"{who} points are too few for a {what} at {p:g}"
            elif truth == 0:
                reason = "the true value is 0, so that no error is relative to it"
            else:
                value = abs(found - truth) / abs(truth)
            group = group_of(view, p)
            entries.append(entry(name, group, value, len(sample), protocol, reason=reason))
    return entries
