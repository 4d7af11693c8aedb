"""Parameters of each source of data; a data set of params.yaml names its source."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from t3vae.settings.blocks import Block, Count, Real, Seed, field
from t3vae.settings.image_sources import IMAGE_SOURCES, ImageSource

__all__ = [
    "SOURCES",
    "Component",
    "Constants",
    "HighDimension",
    "Regularizer",
    "Source",
    "SplitSeeds",
    "TMixture1D",
    "TMixture2D",
    "TauAlpha",
]

_NU: dict[str, Any] = {
    "gt": 2.0,
    "le": 1.0e6,
    "because": "the distribution needs a finite variance",
    "example": "5.0",
}
_SCALE: dict[str, Any] = {
    "because": "it is an entry of a scale matrix",
    "example": "1.0",
}
_Nu = Annotated[Real, Field(gt=2.0, le=1.0e6)]
_Size = Annotated[Count, Field(le=1_000_000_000)]


class Component(Block):
    """One Student t component of a mixture."""

    weight: Real = field("Probability of the component.", gt=0.0, le=1.0, example="0.5")
    mean: Real = field("Location.")
    scale: Real = field("Entry of the scale matrix (variance-like).", gt=0.0, **_SCALE)
    nu: Real = field("Degrees of freedom.", **_NU)


class SplitSeeds(Block):
    """Seeds of the three splits."""

    train: Seed = field("Seed of the training rows.")
    validation: Seed = field("Seed of the validation rows.")
    test: Seed = field("Seed of the test rows.")


class _Splits(Block):
    components: list[Component] = field(
        "Components; their weights sum to 1.", min_length=1, max_length=100
    )
    train: _Size = field("Training rows.")
    validation: _Size = field("Validation rows.")
    test: _Size = field("Test rows.")
    seeds: SplitSeeds = field("Seed of each split.")


class TMixture1D(_Splits):
    """Mixture of univariate Student t distributions."""

    source: Literal["t_mixture_1d"] = field("Source.")


class TMixture2D(_Splits):
    """Points (X, X + a sin(2 pi X / p)) plus t noise, X from a mixture of t distributions."""

    source: Literal["t_mixture_2d"] = field("Source.")
    amplitude: Real = field("Amplitude a of the sine.")
    period: Real = field("Period p of the sine.", gt=0.0, example="8.0")
    noise_nu: Real = field("Degrees of freedom of the noise.", **_NU)
    noise_scale: Real = field(
        "Diagonal entry of the noise's scale matrix (variance-like).",
        1.0,
        gt=0.0,
        **_SCALE,
    )


class Regularizer(Block):
    """Grid of the figure `regularizer`: R(0, Sigma) against Sigma."""

    data_dim: Count = field("Data dimension n.")
    latent_dim: Count = field("Latent dimension m.")
    sigma: Real = field("Scale of the decoder.", gt=0.0, example="1.0")
    nu: list[_Nu] = field("Degrees of freedom, one curve each.", min_length=1)
    variance_min: Real = field("Smallest Sigma.", gt=0.0, example="0.01")
    variance_max: Real = field("Largest Sigma.", gt=0.0, example="3.0")
    points: Count = field("Points of a curve.", ge=2, le=5000)


class TauAlpha(Block):
    """Grid of the figure `tau_alpha`: tau and alpha against nu - 2."""

    data_dims: list[Count] = field("Data dimensions n, one curve each.", min_length=1)
    latent_dim: Count = field("Latent dimension m.")
    sigma: Real = field("Scale of the decoder.", gt=0.0, example="1.0")
    excess_min: Real = field("Smallest nu - 2.", gt=0.0, example="0.01")
    excess_max: Real = field("Largest nu - 2.", gt=0.0, example="1000.0")
    points: Count = field("Points of a curve, evenly spaced in the logarithm.", ge=2, le=5000)


class HighDimension(Block):
    """Grid of the figure `high_dimension`: tau^2 against n, and its limit 1/(2 pi e sigma^2)."""

    nu: list[_Nu] = field("Degrees of freedom, one curve each.", min_length=1)
    latent_dim: Count = field("Latent dimension m.")
    sigma: Real = field("Scale of the decoder.", gt=0.0, example="1.0")
    data_dim_max: Count = field("Largest data dimension n.", ge=2, le=10_000_000)
    points: Count = field("Points of a curve, evenly spaced in the logarithm.", ge=2, le=5000)


class Constants(Block):
    """Constants of the objective on grids; no rows are drawn."""

    source: Literal["constants"] = field("Source.")
    regularizer: Regularizer = field("Grid of the figure `regularizer`.")
    tau_alpha: TauAlpha = field("Grid of the figure `tau_alpha`.")
    high_dimension: HighDimension = field("Grid of the figure `high_dimension`.")


SOURCES: dict[str, type[Block]] = {
    "t_mixture_1d": TMixture1D,
    "t_mixture_2d": TMixture2D,
    "constants": Constants,
    **IMAGE_SOURCES,
}
"""Sources of data, by name."""

Source = Annotated[TMixture1D | TMixture2D | Constants | ImageSource, Field(discriminator="source")]
"""A data set of params.yaml, told apart by ``source``."""
