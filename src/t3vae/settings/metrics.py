"""Catalogue of metrics, with their options; an evaluation block holds the options by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, create_model

from t3vae.settings.blocks import Block, Count, Real, field
from t3vae.settings.catalogue import Extractor, Metric

__all__ = ["EXTRACTORS", "METRICS", "SHARED", "Evaluation", "extractors"]

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


EXTRACTORS = {
    "classifier": Extractor("t3vae.extractors.classifier:load"),
    "inception": Extractor("t3vae.extractors.inception:load"),
}
"""What metrics of images look through, by name."""

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


class Encoded(Block):
    """A metric of encodings of test images."""

    points: Count = field("Test images encoded.", 10_000, ge=2, **_POINTS)


_IMAGES: dict[str, Any] = {"data": "images", "of": "features"}
_CODE = "t3vae.metrics"
METRICS: dict[str, Metric] = {
    "mmd_linear": Metric(
        f"{_CODE}.two_sample:linear_entries", MmdLinear, "linear-time MMD²", "lower"
    ),
    "mmd": Metric(f"{_CODE}.two_sample:unbiased_entries", Mmd, "unbiased MMD²", "lower"),
    "ks": Metric(
        f"{_CODE}.goodness:kolmogorov_smirnov_entries",
        NoOptions,
        "Kolmogorov–Smirnov distance",
        "lower",
        usual=(1,),
    ),
    "anderson_darling": Metric(
        f"{_CODE}.goodness:anderson_darling_entries",
        NoOptions,
        "Anderson–Darling A²",
        "lower",
        usual=(1,),
    ),
    "ksd": Metric(
        f"{_CODE}.stein:discrepancy_entries", Ksd, "kernel Stein discrepancy (squared)", "lower"
    ),
    "tail_mass_ratio": Metric(
        f"{_CODE}.tail:mass_ratio_entries", NoOptions, "tail mass / true tail mass", "one"
    ),
    "tail_quantile_error": Metric(
        f"{_CODE}.tail:quantile_entries",
        TailQuantileError,
        "relative error of tail quantile",
        "lower",
    ),
    "hill": Metric(
        f"{_CODE}.hill:path_entries",
        Hill,
        "Hill tail index",
        "none",
        more={"hill_reference": ("Hill tail index of the true sample", "none")},
    ),
    "expected_shortfall": Metric(
        f"{_CODE}.tail:shortfall_entries",
        ExpectedShortfall,
        "relative error of expected shortfall",
        "lower",
    ),
    "log_likelihood": Metric(
        f"{_CODE}.likelihood:likelihood_entries",
        LogLikelihood,
        "test log-likelihood (nats)",
        "higher",
        of="model",
        more={
            "log_likelihood_ess": ("effective number of importance samples", "higher"),
            "log_likelihood_true": ("mean true log density (nats)", "none"),
        },
    ),
    "reconstruction_error": Metric(
        f"{_CODE}.likelihood:reconstruction_entries",
        NoOptions,
        "mean squared reconstruction error",
        "lower",
        data="any",
        of="model",
    ),
    "frechet_distance_classifier": Metric(
        f"{_CODE}.frechet:classifier_entries",
        NoOptions,
        "Fréchet distance (classifier features)",
        "lower",
        **_IMAGES,
        extractor="classifier",
    ),
    "fid": Metric(
        f"{_CODE}.frechet:inception_entries",
        NoOptions,
        "FID",
        "lower",
        **_IMAGES,
        extractor="inception",
        usual=False,
    ),
    "kid": Metric(
        f"{_CODE}.kid:kid_entries", Kid, "kernel distance of features (KID)", "lower", **_IMAGES
    ),
    "precision": Metric(
        f"{_CODE}.manifold:precision_entries", Overlap, "precision", "higher", **_IMAGES
    ),
    "recall": Metric(f"{_CODE}.manifold:recall_entries", Overlap, "recall", "higher", **_IMAGES),
    "density": Metric(f"{_CODE}.manifold:density_entries", Overlap, "density", "higher", **_IMAGES),
    "coverage": Metric(
        f"{_CODE}.manifold:coverage_entries", Overlap, "coverage", "higher", **_IMAGES
    ),
    "class_f1": Metric(
        f"{_CODE}.per_class:f1_entries",
        NoOptions,
        "F1 of the class asked for",
        "higher",
        **_IMAGES,
        extractor="classifier",
        needs="labelled",
    ),
    "class_mass": Metric(
        f"{_CODE}.per_class:mass_entries",
        NoOptions,
        "share of images in a class",
        "none",
        **_IMAGES,
        extractor="classifier",
        needs="labelled",
    ),
    "active_units": Metric(
        f"{_CODE}.latent_space:unit_entries",
        Encoded,
        "active latent coordinates",
        "none",
        data="images",
        of="latent",
    ),
    "latent_radius": Metric(
        f"{_CODE}.latent_space:radius_entries",
        NoOptions,
        "median norm of encodings / of the distribution",
        "one",
        data="images",
        of="latent",
    ),
    "entropy_weight": Metric(
        f"{_CODE}.latent_space:entropy_entries",
        Encoded,
        "weight of the encoder's entropy",
        "none",
        data="images",
        of="latent",
    ),
}
"""Metrics of this package, by name."""


class _Shared(Block):
    threshold: Real = field("Where the tails begin; images have none.", 6.0, gt=0.0, example="6.0")
    confidence: Real = field("Level of the intervals within one run.", 0.95, gt=0.0, lt=1.0)


SHARED = _Shared().model_dump()
"""Options that belong to no metric alone, with their defaults."""

if TYPE_CHECKING:
    Evaluation: TypeAlias = Any
else:
    Evaluation = create_model(
        "Evaluation",
        __base__=_Shared,
        __doc__="Options of the metrics, with those that several metrics share.",
        **{n: (m.options, field(m.options.__doc__, m.options())) for n, m in METRICS.items()},
    )


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
    for entry, name in ((METRICS[n], n) for n in metrics if n in METRICS):
        if entry.extractor is not None:
            needed.add(entry.extractor)
        elif "features" in entry.options.model_fields:
            block = options.get(name)
            chosen = block.get("features") if isinstance(block, Mapping) else None
            needed.add(str(chosen or entry.options.model_fields["features"].default))
    return sorted(needed)
