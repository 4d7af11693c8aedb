"""Parameters of each model family; a model of params.yaml names its family.

``family`` may also be an import path ``package.module:Class`` of a class outside this
package; its parameters are declared by its nested pydantic class ``Config``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from t3vae.settings.blocks import Block, Count, Real, field

__all__ = [
    "CONDITIONAL",
    "FAMILIES",
    "IMPORT_PATH",
    "CT3Vae",
    "CVae",
    "DEVae",
    "FactorVae",
    "Family",
    "Hvae",
    "ImportedFamily",
    "Matched",
    "StudentTVae",
    "T3Hvae",
    "T3Vae",
    "TiltedVae",
    "Vae",
    "VaeSt",
    "is_import_path",
]

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""``package.module:Class``."""

_VARIANCE = "the objective needs a finite prior variance"


def is_import_path(family: Any) -> bool:
    """Say whether a family is named by an import path.

    Example:
        >>> is_import_path("my_models.cauchy:CauchyVAE"), is_import_path("t3vae")
        (True, False)
    """
    return isinstance(family, str) and IMPORT_PATH.fullmatch(family) is not None


def _positive_or_matched(value: Any) -> Any:
    if value == "matched":
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return float(value)
    raise PydanticCustomError("positive_or_matched", "must be a number above 0, or `matched`")


PositiveOrMatched = Annotated[float | Literal["matched"], BeforeValidator(_positive_or_matched)]
"""A weight or scale above 0, or ``matched``: the value of the t3VAE with the same ``nu``."""


def _nu(description: str, because: str = _VARIANCE) -> Any:
    return field(description, gt=2.0, le=1.0e6, because=because, example="2.5")


class Matched(Block):
    """What the Gaussian families share: weight, prior scale, and what they are matched to."""

    beta: PositiveOrMatched = field(
        "Weight of the KL term; `matched` is v* of the t model with this nu.",
        1.0,
        example="1.0",
    )
    prior_scale: PositiveOrMatched = field(
        "Standard deviation of the prior; `matched` is sqrt(v*).", 1.0, example="1.0"
    )
    nu: Annotated[Real, Field(gt=2.0, le=1.0e6)] | None = field(
        "Degrees of freedom of the t model that `matched` refers to.",
        None,
        because=_VARIANCE,
        example="2.5",
    )


class Vae(Matched):
    """Gaussian VAE, with the weight of the regulariser and the scale of the prior."""

    family: Literal["vae"] = field("Family.")


class StudentTVae(Block):
    """VAE with an independent Student t decoder (Takahashi et al. 2018)."""

    family: Literal["student_t_vae"] = field("Family.")
    nu_floor: Real = field(
        "Smallest degrees of freedom that the decoder may learn.",
        1.0,
        gt=0.0,
        le=1.0e6,
        because="chi-square samples with fewer degrees of freedom underflow",
        example="1.0",
    )


class DEVae(Block):
    """VAE with a product of univariate t priors (Mathieu et al. 2019)."""

    family: Literal["de_vae"] = field("Family.")
    nu: Real = _nu("Degrees of freedom of the prior.", "the prior needs a finite variance")


class VaeSt(Block):
    """VAE with t prior and t posterior (Abiri and Ohlsson 2020)."""

    family: Literal["vae_st"] = field("Family.")
    nu: Real = _nu("Degrees of freedom of the prior.", "the prior needs a finite variance")


class T3Vae(Block):
    """t3VAE: t prior, t encoder and t decoder (Kim et al. 2024)."""

    family: Literal["t3vae"] = field("Family.")
    nu: Real = _nu("Degrees of freedom of prior, encoder and decoder.")
    beta: Real = field("Weight of the regulariser.", 1.0, gt=0.0, le=1.0e6, example="1.0")


class GaussianTwin(Block):
    """Gaussian VAE with weight, latent scale and first noise of the t3VAE with this nu."""

    family: Literal["gaussian_twin"] = field("Family.")
    nu: Real = _nu("Degrees of freedom of the t3VAE that it is the twin of.")
    entropy_weight: Real = field(
        "Factor of the log-determinant's slope, as the metric of this name measures it.",
        1.0,
        gt=0.0,
        le=1.0e3,
        example="0.97",
    )


class TiltedVae(Block):
    """VAE with an exponentially tilted Gaussian prior (Floto et al. 2023)."""

    family: Literal["tilted_vae"] = field("Family.")
    tilt: Real = field("Tilt tau of the prior.", ge=0.0, le=1.0e4, example="50.0")
    beta: Real = field("Weight of the regulariser.", 1.0, gt=0.0, le=1.0e6, example="1.0")


class FactorVae(Block):
    """VAE with a penalty on the total correlation (Kim and Mnih 2018)."""

    family: Literal["factor_vae"] = field("Family.")
    tc_weight: Real = field("Weight of the total correlation.", gt=0.0, le=1.0e6, example="20.0")
    beta: Real = field("Weight of the regulariser.", 1.0, gt=0.0, le=1.0e6, example="1.0")
    discriminator_width: Annotated[Count, Field(le=65536)] = field(
        "Units of each of the discriminator's five hidden layers.", 2000
    )
    discriminator_learning_rate: Real = field(
        "Step size of the discriminator's own Adam.", 1.0e-5, gt=0.0, le=10.0, example="1.0e-5"
    )


LowerDim = Annotated[Count, Field(le=65536)] | None
"""Dimension of a lower level."""

_LOWER = "Dimension of the lower level; null for that of the upper one."


class Hvae(Matched):
    """Two-level Gaussian VAE, the control of the two-level t model."""

    family: Literal["hvae"] = field("Family.")
    latent_dim_2: LowerDim = field(_LOWER, None, example="64")


class T3Hvae(Block):
    """Two-level t model (Kim et al. 2024)."""

    family: Literal["t3hvae"] = field("Family.")
    nu: Real = _nu("Degrees of freedom of prior, encoder and decoder.")
    beta: Real = field("Weight of the regulariser.", 1.0, gt=0.0, le=1.0e6, example="1.0")
    objective: Literal["per_level", "joint"] = field(
        "Regulariser of each level, as published, or of a jointly t encoder.", "per_level"
    )
    latent_dim_2: LowerDim = field(_LOWER, None, example="64")


class CVae(Matched):
    """Conditional Gaussian VAE with a prior location for each class."""

    family: Literal["c_vae"] = field("Family.")


class CT3Vae(Block):
    """t3VAE with a prior location for each class (compare Bouayed et al. 2025)."""

    family: Literal["c_t3vae"] = field("Family.")
    nu: Real = _nu("Degrees of freedom of prior, encoder and decoder.")
    beta: Real = field("Weight of the regulariser.", 1.0, gt=0.0, le=1.0e6, example="1.0")


class ImportedFamily(Block):
    """A class of one's own; its other keys are checked by its nested `Config`."""

    model_config = ConfigDict(extra="allow")

    family: str = field("Import path `package.module:Class`.", pattern=f"^{IMPORT_PATH.pattern}$")


FAMILIES: dict[str, type[Block]] = {
    "vae": Vae,
    "student_t_vae": StudentTVae,
    "de_vae": DEVae,
    "vae_st": VaeSt,
    "t3vae": T3Vae,
    "gaussian_twin": GaussianTwin,
    "tilted_vae": TiltedVae,
    "factor_vae": FactorVae,
    "hvae": Hvae,
    "t3hvae": T3Hvae,
    "c_vae": CVae,
    "c_t3vae": CT3Vae,
}
"""Families of this package, by name."""

CONDITIONAL = ("c_vae", "c_t3vae")
"""Families that need data with a class for each row."""


def _tag(value: Any) -> str | None:
    family = value.get("family") if isinstance(value, dict) else getattr(value, "family", None)
    if is_import_path(family):
        return "import"
    return family if isinstance(family, str) else None


Family = Annotated[
    Annotated[Vae, Tag("vae")]
    | Annotated[StudentTVae, Tag("student_t_vae")]
    | Annotated[DEVae, Tag("de_vae")]
    | Annotated[VaeSt, Tag("vae_st")]
    | Annotated[T3Vae, Tag("t3vae")]
    | Annotated[GaussianTwin, Tag("gaussian_twin")]
    | Annotated[TiltedVae, Tag("tilted_vae")]
    | Annotated[FactorVae, Tag("factor_vae")]
    | Annotated[Hvae, Tag("hvae")]
    | Annotated[T3Hvae, Tag("t3hvae")]
    | Annotated[CVae, Tag("c_vae")]
    | Annotated[CT3Vae, Tag("c_t3vae")]
    | Annotated[ImportedFamily, Tag("import")],
    Discriminator(_tag),
]
"""A model of params.yaml, told apart by ``family``."""
