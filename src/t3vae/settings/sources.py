"""Catalogue of the sources of data, with their parameters.

A data set of params.yaml names its ``source``, which may be an import path
``package.module:function`` of a function outside this package (see :mod:`t3vae.datasets`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, create_model
from pydantic_core import PydanticCustomError

from t3vae.settings.blocks import Block, Count, Real, Seed, field
from t3vae.settings.catalogue import IMAGE, IMPORT_PATH, Source, is_import_path, tagged

__all__ = ["SOURCES", "AnySource", "Component", "ImportedSource", "source_of"]

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


Flag = Annotated[bool, Field(strict=True)]
_Side = Annotated[Count, Field(le=4096)]


def _folder(default: Any = ...) -> Any:
    return field(
        "Folder with the raw files, relative to the root folder; or the archive itself.",
        default,
        min_length=1,
        max_length=4096,
        example="data/raw/images",
    )


def _download() -> Any:
    return field("Fetch missing raw files where the machine is connected.", True)


def _flip(default: bool) -> Any:
    return field("Mirror training images at random, on the device.", default)


def _test_fraction(default: float, where: str) -> Any:
    return field(f"Fraction of each class for testing{where}.", default, gt=0.0, lt=1.0)


def _grey_or_colour(value: int) -> int:
    if value not in (1, 3):
        raise PydanticCustomError("channels", "must be 1 or 3")
    return value


Channels = Annotated[Count, AfterValidator(_grey_or_colour)]
"""1 for grey, 3 for colour; true is no number."""


class _LongTailed(Block):
    imbalance: Annotated[Real, Field(ge=1.0, le=1.0e6)] | None = field(
        "Size of the largest training class over that of the smallest; null keeps all images.",
        None,
        example="100.0",
    )
    profile: Literal["exponential", "step"] = field(
        "How class sizes fall from the first class to the last.", "exponential"
    )
    validation_fraction: Real = field(
        "Fraction of the test images of each class set aside for validation, where the "
        "source has no validation images.",
        0.1,
        gt=0.0,
        lt=1.0,
    )
    seed: Seed = field("Seed of every choice of images.", 0)


class Digits(_LongTailed):
    """Digits of 8 x 8 pixels that scikit-learn ships."""

    source: Literal["digits"] = field("Source.")
    test_fraction: Real = _test_fraction(0.4, "")
    flip: Flag = _flip(False)


class ImageFolder(_LongTailed):
    """A folder of your images: `train/<class>/*` with `test/<class>/*`, or `<class>/*`."""

    source: Literal["image_folder"] = field("Source.")
    folder: str = _folder()
    size: _Side = field("Side of the prepared images in pixels.", example="64")
    channels: Channels = field("3 for colour, 1 for grey.", 3)
    crop: _Side | None = field(
        "Side of the centre square cut out before resizing, in pixels; null cuts nothing.",
        None,
        example="148",
    )
    test_fraction: Real = _test_fraction(0.2, ", where the folder has no `test`")
    flip: Flag = _flip(True)


def _archive(name: str, description: str, *, flip: bool) -> type[Block]:
    """Return the declaration of a published data set with classes, kept below its name."""
    fields: dict[str, Any] = {
        "source": (Literal[name], field("Source.")),
        "folder": (str, _folder(f"data/raw/{name}")),
        "download": (Flag, _download()),
        "flip": (Flag, _flip(flip)),
    }
    return create_model(name.capitalize(), __base__=_LongTailed, __doc__=description, **fields)


Cifar10 = _archive("cifar10", "CIFAR-10 from its official Python archive.", flip=True)
Cifar100 = _archive(
    "cifar100", "CIFAR-100 from its official Python archive, with the fine labels.", flip=True
)
Svhn = _archive("svhn", "Street View House Numbers, cropped digits.", flip=False)


class CelebA(Block):
    """Aligned CelebA faces in the official splits, with 40 attributes."""

    source: Literal["celeba"] = field("Source.")
    folder: str = _folder("data/raw/celeba")
    download: Flag = _download()
    size: _Side = field("Side of the prepared images in pixels.", 64)
    crop: _Side | None = field(
        "Side of the centre square cut out before resizing, in pixels; null cuts nothing.", 148
    )
    flip: Flag = _flip(True)


class ImportedSource(Block):
    """A custom function `build(config)` or `read(config, root)`; its other keys are passed on.

    What `folder` or `file` names is followed: other content prepares the data anew.
    """

    model_config = ConfigDict(extra="allow")

    source: str = field(
        "Import path `package.module:function`.", pattern=f"^{IMPORT_PATH.pattern}$"
    )
    rows: Literal["numbers", "images"] = field("What a row is.", "numbers")
    columns: Annotated[Count, Field(le=100_000)] = field("Columns of a row of numbers.", 1)
    labelled: Flag = field("Whether each image has a class.", False)


_CODE = "t3vae.datasets"
SOURCES: dict[str, Source] = {
    "t_mixture_1d": Source(f"{_CODE}.synthetic:build", TMixture1D, columns=1),
    "t_mixture_2d": Source(f"{_CODE}.bivariate:build", TMixture2D, columns=2),
    "constants": Source(
        f"{_CODE}.theory:build", Constants, arrays=("regularizer", "tau_alpha", "high_dimension")
    ),
    "digits": Source(f"{_CODE}.digits:read", Digits, IMAGE, labelled=True, size=(3_600, 64)),
    "image_folder": Source(
        f"{_CODE}.image_folder:read", ImageFolder, IMAGE, labelled=True, raw="{folder}"
    ),
    "cifar10": Source(f"{_CODE}.cifar:read", Cifar10, IMAGE, labelled=True, size=(110_000, 3072)),
    "cifar100": Source(f"{_CODE}.cifar:read", Cifar100, IMAGE, labelled=True, size=(110_000, 3072)),
    "svhn": Source(f"{_CODE}.svhn:read", Svhn, IMAGE, labelled=True, size=(173_000, 3072)),
    "celeba": Source(
        f"{_CODE}.celeba:read",
        CelebA,
        IMAGE,
        attributes=True,
        size=(203_000, 3 * 64 * 64),
        raw="{folder}/img_align_celeba",
    ),
}
"""Sources of data of this package, by name."""


def source_of(config: Mapping[str, Any]) -> Source | None:
    """Return the entry of a data set, that of an imported source too; None where there is none.

    Args:
        config: the block of the data set; ``source`` and what an imported one says of its rows.
    """
    name = config.get("source")
    if isinstance(name, str) and is_import_path(name):
        images = config.get("rows") == "images"
        labelled = images and config.get("labelled") is True
        columns = IMAGE if images else config.get("columns", 1)
        raw = next((f"{{{key}}}" for key in ("folder", "file") if key in config), None)
        return Source(name, ImportedSource, columns, labelled=labelled, raw=raw)
    return SOURCES.get(name) if isinstance(name, str) else None


if TYPE_CHECKING:
    AnySource: TypeAlias = Any
else:
    AnySource = tagged(SOURCES, "source", ImportedSource)
