"""Catalogue of model families and kinds of networks, with their parameters.

A model of params.yaml names its ``family``, which may also be an import path
``package.module:Class`` of a class outside this package; its parameters are declared by its
nested pydantic class ``Config``. A network names its ``kind``, which may be an import path
``package.module:function`` of a function that builds encoder and decoder; its other keys
become the arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from t3vae.settings.blocks import Block, Count, Real, field
from t3vae.settings.catalogue import IMPORT_PATH, ModelFamily, NetworkKind, tagged

__all__ = ["FAMILIES", "NETWORKS", "Family", "ImportedFamily", "ImportedNetwork", "Network"]

_VARIANCE = "the objective needs a finite prior variance"


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
    """A custom class; its other keys are checked by its nested `Config`."""

    model_config = ConfigDict(extra="allow")

    family: str = field("Import path `package.module:Class`.", pattern=f"^{IMPORT_PATH.pattern}$")


class Mlp(Block):
    """Multilayer perceptron of encoder and decoder."""

    kind: Literal["mlp"] = field("Kind of network.")
    hidden: list[Annotated[Count, Field(le=65536)]] = field(
        "Units of each hidden layer, from the data to the latent space.",
        min_length=1,
        max_length=32,
    )
    negative_slope: Real = field(
        "Slope of LeakyReLU for negative inputs.", 0.01, ge=0.0, lt=1.0, example="0.01"
    )


class Cnn(Block):
    """Convolutional encoder and decoder of images (Kim et al. 2024)."""

    kind: Literal["cnn"] = field("Kind of network.")
    channels: list[Annotated[Count, Field(le=65536)]] = field(
        "Channels after each block; a block halves the image.",
        [128, 256, 512, 1024, 2048],
        min_length=1,
        max_length=12,
    )
    width: Real = field("Factor of all channels.", 1.0, gt=0.0, le=64.0, example="0.25")


class ImportedNetwork(Block):
    """A custom function that builds encoder and decoder."""

    model_config = ConfigDict(extra="allow")

    kind: str = field("Import path `package.module:function`.", pattern=f"^{IMPORT_PATH.pattern}$")


def _gaussian(name: str) -> Callable[[Mapping[str, Any]], str]:
    """Return the label of a Gaussian family by its weight and the scale of its prior."""

    def label(given: Mapping[str, Any]) -> str:
        beta, scale = given.get("beta", 1.0), given.get("prior_scale", 1.0)
        if beta == "matched":
            text = f"{name.replace('VAE', 'β-VAE') if name == 'VAE' else name} matched"
            return f"{text}{', scaled' if scale == 'matched' else ''}, ν = {given['nu']:g}"
        text = name if beta == 1.0 else f"{name.replace('VAE', 'β-VAE')}, {beta:g}"
        return text if scale == 1.0 else f"{text}, k = {scale}"

    return label


def _of_nu(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda given: f"{name}, ν = {given['nu']:g}"


def _t3hvae(given: Mapping[str, Any]) -> str:
    joint = ", joint" if given.get("objective") == "joint" else ""
    return f"t³HVAE{joint}, ν = {given['nu']:g}"


def _twin(given: Mapping[str, Any]) -> str:
    weight = given.get("entropy_weight", 1.0)
    return _of_nu("Gaussian twin")(given) + (f", w = {weight:.2g}" if weight != 1.0 else "")


_CODE = "t3vae.models"
FAMILIES: dict[str, ModelFamily] = {
    "vae": ModelFamily(f"{_CODE}.vae:VAE", Vae, _gaussian("VAE"), 5, "o"),
    "student_t_vae": ModelFamily(
        f"{_CODE}.student_t_vae:StudentTVAE", StudentTVae, "Student-t VAE", 324, "s"
    ),
    "de_vae": ModelFamily(f"{_CODE}.de_vae:DEVAE", DEVae, _of_nu("DE-VAE"), 86, "P"),
    "vae_st": ModelFamily(f"{_CODE}.vae_st:VAEst", VaeSt, _of_nu("VAE-st"), 150, "X"),
    "t3vae": ModelFamily(
        f"{_CODE}.t3vae:T3VAE", T3Vae, _of_nu("t³VAE"), 248, "D", controls=("vae", "gaussian_twin")
    ),
    "gaussian_twin": ModelFamily(
        f"{_CODE}.gaussian_twin:GaussianTwin", GaussianTwin, _twin, 22, "d"
    ),
    "tilted_vae": ModelFamily(
        f"{_CODE}.tilted_vae:TiltedVAE",
        TiltedVae,
        lambda g: f"tilted VAE, τ = {g['tilt']:g}",
        132,
        "*",
    ),
    "factor_vae": ModelFamily(
        f"{_CODE}.factor_vae:FactorVAE",
        FactorVae,
        lambda g: f"FactorVAE, weight {g['tc_weight']:g}",
        300,
        "p",
    ),
    "hvae": ModelFamily(f"{_CODE}.hvae:HVAE", Hvae, _gaussian("HVAE"), 338, "v"),
    "t3hvae": ModelFamily(f"{_CODE}.t3hvae:T3HVAE", T3Hvae, _t3hvae, 197, "^", controls=("hvae",)),
    "c_vae": ModelFamily(
        f"{_CODE}.c_vae:CVAE", CVae, _gaussian("C-VAE"), 70, "<", conditional=True
    ),
    "c_t3vae": ModelFamily(
        f"{_CODE}.c_t3vae:CT3VAE",
        CT3Vae,
        _of_nu("C-t³VAE"),
        277,
        ">",
        conditional=True,
        controls=("c_vae", "t3vae"),
    ),
}
"""Model families of this package, by name."""

NETWORKS: dict[str, NetworkKind] = {
    "mlp": NetworkKind("t3vae.networks.mlp:build", Mlp),
    "cnn": NetworkKind("t3vae.networks.cnn:build", Cnn),
}
"""Kinds of networks of this package, by name."""

if TYPE_CHECKING:
    Family: TypeAlias = Any
    Network: TypeAlias = Any
else:
    Family = tagged(FAMILIES, "family", ImportedFamily)
    Network = tagged(NETWORKS, "kind", ImportedNetwork)
