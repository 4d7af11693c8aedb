"""Tails: how much mass, how far out, how heavy beyond.

A conditional comparison of tail points does not see how many there are; these metrics do.
In one dimension the tails are x < -t and x > t; in more, |x| > t by the sign of the first
column for masses, and the norm for quantiles and expected shortfall.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    counts = {group: len(points) for group, points in sample.tails(threshold).items()}
    n = len(sample)
    interval = f"{100 * confidence:g} % Clopper-Pearson interval"
    entries = []
    if reference.distribution is not None:
        protocol = f"mass beyond {threshold:g} over the exact probability, {interval}"
        for group, truth in reference.distribution.tail_probability(threshold).items():
            if not truth > 0:
                reason = f"the {group.replace('_', ' ')} has no mass that a number can hold"
                entries.append(entry("tail_mass_ratio", group, None, n, protocol, reason=reason))
                continue
            low, high = clopper_pearson(counts[group], n, confidence)
            entries.append(
                entry(
                    "tail_mass_ratio",
                    group,
                    counts[group] / n / truth,
                    n,
                    protocol,
                    ci_low=low / truth,
                    ci_high=high / truth,
                )
            )
        return entries
    protocol = f"mass beyond {threshold:g} over that of the test points, {interval} given the total"
    for group, points in reference.tails(threshold).items():
        if len(points) == 0:
            reason = f"no test point lies in the {group.replace('_', ' ')}"
            entries.append(entry("tail_mass_ratio", group, None, n, protocol, reason=reason))
            continue
        low, high = ratio_interval(counts[group], n, len(points), len(reference), confidence)
        value = counts[group] / n / (len(points) / len(reference))
        entries.append(
            entry("tail_mass_ratio", group, value, n, protocol, ci_low=low, ci_high=high)
        )
    return entries


def quantile_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: Generator
) -> list[dict[str, Any]]:
    """Entries ``tail_quantile_error``: |q - q_true| / |q_true| at levels p and 1 - p.

    The p-quantile of the samples is the largest of those with at least a share p beyond them.
    """
    name, n = "tail_quantile_error", len(sample)
    protocol = f"relative error against {_truth_text(reference)}"
    entries = []
    for view in sample.views():
        for p in sorted(options["levels"]):
            level = p if view == "left_tail" else 1 - p
            group = f"{'norm:' if view == 'norm' else ''}p={level:.10g}"
            truth = _true_quantile(reference, view, p)
            rank = _rank(n, p)
            if rank == 0 or truth is None:
                who = n if rank == 0 else len(reference)
                reason = f"{who} points are too few for a quantile at {p:g}"
                entries.append(entry(name, group, None, n, protocol, reason=reason))
                continue
            value = float(sample.upper(view, rank)[-1])
            entries.append(_relative(name, group, value, truth, n, protocol))
    return entries


def shortfall_entries(
    sample: Sample, reference: Reference, options: Mapping[str, Any], rng: Generator
) -> list[dict[str, Any]]:
    """Entries ``expected_shortfall``: relative error of the mean of the worst share p."""
    name, n = "expected_shortfall", len(sample)
    protocol = f"relative error against {_truth_text(reference)}"
    entries = []
    for view in sample.views():
        for p in sorted(options["levels"]):
            rank = _rank(n, p)
            group = f"{view}:p={p:.10g}"
            truth = _true_shortfall(reference, view, p)
            if rank == 0 or truth is None:
                who = n if rank == 0 else len(reference)
                reason = f"{who} points are too few for a shortfall at {p:g}"
                entries.append(entry(name, group, None, n, protocol, reason=reason))
                continue
            value = float(sample.upper(view, rank).mean())
            entries.append(_relative(name, group, value, truth, n, protocol))
    return entries


def _rank(n: int, p: float) -> int:
    """Return how many of n points make up the upper share p (rounded)."""
    return int(np.floor(n * p + 1e-9))


def _relative(
    name: str, group: str, value: float, truth: float, n: int, protocol: str
) -> dict[str, Any]:
    if truth == 0:
        reason = "the true value is 0, so that no error is relative to it"
        return entry(name, group, None, n, protocol, reason=reason)
    return entry(name, group, abs(value - truth) / abs(truth), n, protocol)


def _truth_text(reference: Reference) -> str:
    return "the test points" if reference.distribution is None else "the exact distribution"


def _true_quantile(reference: Reference, view: str, p: float) -> float | None:
    if reference.distribution is not None:
        return float(reference.distribution.tail_quantile(view, p))
    rank = _rank(len(reference), p)
    return float(reference.upper(view, rank)[-1]) if rank else None


def _true_shortfall(reference: Reference, view: str, p: float) -> float | None:
    if reference.distribution is not None:
        return float(reference.distribution.tail_mean(view, p))
    rank = _rank(len(reference), p)
    return float(reference.upper(view, rank).mean()) if rank else None
