"""Options of each metric; an evaluation block of params.yaml holds them by metric name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from t3vae.blocks import Block, Count, Real, field

__all__ = ["METRICS", "SHARED_OPTIONS", "Evaluation"]

_Levels = list[Annotated[Real, Field(gt=0.0, lt=0.5)]]
_POINTS: dict[str, Any] = {"le": 100_000_000}


class NoOptions(Block):
    """A metric without options."""


class MmdLinear(Block):
    """Linear-time MMD test of the reference implementation."""

    points: Count = field("Points of each sample.", 100_000, ge=4, **_POINTS)
    permutations: Count = field("Draws of the null distribution.", 999, ge=19, le=1_000_000)
    null_law: Literal["sign_flip", "permutation"] = field("How the null is drawn.", "sign_flip")


class Mmd(Block):
    """Unbiased quadratic MMD^2 with a permutation test."""

    points: Count = field("Points of each sample.", 2000, ge=4, le=1_000_000)
    permutations: Count = field("Permutations of the pooled sample.", 199, ge=19, le=1_000_000)
    bandwidth_points: Count = field(
        "Pooled points of the median bandwidth.", 1000, ge=2, le=100_000
    )


class Ksd(Block):
    """Kernel Stein discrepancy with an inverse multiquadric kernel."""

    points: Count = field("Points of the sample.", 2000, ge=2, le=1_000_000)
    c: Real = field("Offset of the kernel.", 1.0, gt=0.0)
    beta: Real = field("Exponent of the kernel.", -0.5, gt=-1.0, lt=0.0)


class TailQuantileError(Block):
    """Relative errors of extreme quantiles."""

    levels: _Levels = field(
        "Probabilities of the lower quantiles; the upper ones are added.",
        [1.0e-5, 1.0e-4, 1.0e-3, 1.0e-2],
        min_length=1,
        max_length=100,
    )


class Hill(Block):
    """Hill estimator over a path of order statistics."""

    fraction: Real = field("Largest k as a fraction of the sample.", 0.01, gt=0.0, lt=0.5)
    steps: Count = field("Values of k from sqrt(N) to the largest.", 8, le=1000)


class ExpectedShortfall(Block):
    """Relative errors of expected shortfalls."""

    levels: _Levels = field("Probabilities of the tail.", [1.0e-3, 1.0e-2], min_length=1)


class LogLikelihood(Block):
    """Importance-weighted log-likelihood of test rows."""

    points: Count = field("Test rows.", 1000, ge=2, **_POINTS)
    samples: Count = field("Importance samples of each row.", 1000, **_POINTS)


class Evaluation(Block):
    """Options of the metrics, with those that several metrics share."""

    threshold: Real = field("Where the tails begin.", gt=0.0, example="6.0")
    confidence: Real = field("Level of the intervals within one run.", 0.95, gt=0.0, lt=1.0)
    mmd_linear: MmdLinear = field("Linear MMD test.", MmdLinear())
    mmd: Mmd = field("Quadratic MMD test.", Mmd())
    ks: NoOptions = field("Kolmogorov-Smirnov distance.", NoOptions())
    anderson_darling: NoOptions = field("Anderson-Darling statistic.", NoOptions())
    ksd: Ksd = field("Kernel Stein discrepancy.", Ksd())
    tail_mass_ratio: NoOptions = field("Tail mass over the exact one.", NoOptions())
    tail_quantile_error: TailQuantileError = field("Tail quantiles.", TailQuantileError())
    hill: Hill = field("Tail index.", Hill())
    expected_shortfall: ExpectedShortfall = field("Expected shortfall.", ExpectedShortfall())
    log_likelihood: LogLikelihood = field("Test log-likelihood.", LogLikelihood())
    reconstruction_error: NoOptions = field("Mean squared distance of a point.", NoOptions())


SHARED_OPTIONS = ("threshold", "confidence")
"""Options that belong to no metric alone."""

METRICS: dict[str, type[Block]] = {
    name: info.annotation  # type: ignore[misc]
    for name, info in Evaluation.model_fields.items()
    if name not in SHARED_OPTIONS
}
"""Metrics, by name, with the class of their options."""
