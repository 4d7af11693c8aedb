"""Options of each metric; an evaluation block of params.yaml holds them by metric name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from t3vae.settings.blocks import Block, Count, Real, field

__all__ = [
    "BY_CLASSIFIER",
    "BY_INCEPTION",
    "IMAGES",
    "LATENT",
    "METRICS",
    "SHARED_OPTIONS",
    "Evaluation",
    "extractors",
]

_Levels = list[Annotated[Real, Field(gt=0.0, lt=0.5)]]
_POINTS: dict[str, Any] = {"le": 100_000_000}


class NoOptions(Block):
    """A metric without options."""


class MmdLinear(Block):
    """Linear-time MMD test of the reference implementation."""

    points: Count = field("Points of each sample.", 100_000, ge=4, **_POINTS)
    permutations: Count = field("Samples of the null distribution.", 999, ge=19, le=1_000_000)
    null_distribution: Literal["sign_flip", "permutation"] = field(
        "How the null is drawn.", "sign_flip"
    )


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


_Extractor = Literal["classifier", "inception"]


class Kid(Block):
    """Kernel distance of features."""

    features: _Extractor = field("Extractor of the features.", "classifier")
    subset_size: Count = field("Images of a subset.", 1000, ge=2, le=100_000)
    subsets: Count = field("Pairs of subsets.", 100, ge=2, le=100_000)


class Overlap(Block):
    """Overlap of the supports of two sets of features."""

    features: _Extractor = field("Extractor of the features.", "classifier")
    neighbours: Count = field("Neighbour that bounds the ball around a point.", 5, le=1000)
    points: Count = field("Images of each set at most.", 10_000, ge=4, le=1_000_000)


class ActiveUnits(Block):
    """Latent coordinates that follow the data."""

    points: Count = field("Test images encoded.", 10_000, ge=2, **_POINTS)


class Evaluation(Block):
    """Options of the metrics, with those that several metrics share."""

    threshold: Real = field("Where the tails begin; images have none.", 6.0, gt=0.0, example="6.0")
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
    frechet_distance_classifier: NoOptions = field(
        "Frechet distance of features of the data set's own classifier.", NoOptions()
    )
    fid: NoOptions = field("Frechet distance of features of Inception-v3.", NoOptions())
    kid: Kid = field("Kernel distance of features.", Kid())
    precision: Overlap = field("Generated images within the real ones.", Overlap())
    recall: Overlap = field("Real images within the generated ones.", Overlap())
    density: Overlap = field("Real neighbourhoods around a generated image.", Overlap())
    coverage: Overlap = field("Real neighbourhoods that are reached.", Overlap())
    class_f1: NoOptions = field("Do images show the class that was asked for?", NoOptions())
    class_mass: NoOptions = field("Share of generated images in each class.", NoOptions())
    active_units: ActiveUnits = field("Latent coordinates in use.", ActiveUnits())
    latent_radius: NoOptions = field(
        "Radius of encodings against that of a distribution.", NoOptions()
    )
    entropy_weight: NoOptions = field("Factor of the log-determinant's slope.", NoOptions())


SHARED_OPTIONS = ("threshold", "confidence")
"""Options that belong to no metric alone."""

METRICS: dict[str, type[Block]] = {
    name: info.annotation  # type: ignore[misc]
    for name, info in Evaluation.model_fields.items()
    if name not in SHARED_OPTIONS
}
"""Metrics, by name, with the class of their options."""

BY_CLASSIFIER = ("frechet_distance_classifier", "class_f1", "class_mass")
"""Metrics that look through the classifier of the data set."""

BY_INCEPTION = ("fid",)
"""Metrics that look through Inception-v3."""

_CHOOSE = tuple(name for name, block in METRICS.items() if "features" in block.model_fields)

LATENT = ("active_units", "latent_radius", "entropy_weight")
"""Metrics of the latent space of images."""

IMAGES = (*BY_CLASSIFIER, *BY_INCEPTION, *_CHOOSE, *LATENT, "reconstruction_error")
"""Metrics that images can have."""


def extractors(metrics: Iterable[str], options: Mapping[str, Any]) -> list[str]:
    """Return the extractors that metrics need, sorted.

    Args:
        metrics: names of the metrics.
        options: the evaluation block, as plain values.

    Example:
        >>> extractors(["kid", "fid"], {"kid": {"features": "classifier"}})
        ['classifier', 'inception']
    """
    needed = set()
    for name in metrics:
        if name in BY_CLASSIFIER:
            needed.add("classifier")
        elif name in BY_INCEPTION:
            needed.add("inception")
        elif name in _CHOOSE:
            block = options.get(name)
            chosen = block.get("features") if isinstance(block, Mapping) else None
            needed.add(str(chosen or "classifier"))
    return sorted(needed)
