"""Parameters of the sources of images; a data set of params.yaml names its source."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from t3vae.settings.blocks import Block, Count, Real, Seed, field

__all__ = [
    "IMAGE_SOURCES",
    "CelebA",
    "Cifar10",
    "Cifar100",
    "Digits",
    "ImageFolder",
    "ImageSource",
    "Svhn",
]

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
    """Images of one's own: `train/<class>/*` with `test/<class>/*`, or `<class>/*`."""

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


class Cifar10(_LongTailed):
    """CIFAR-10 from its official Python archive."""

    source: Literal["cifar10"] = field("Source.")
    folder: str = _folder("data/raw/cifar10")
    download: Flag = _download()
    flip: Flag = _flip(True)


class Cifar100(_LongTailed):
    """CIFAR-100 from its official Python archive, with the fine labels."""

    source: Literal["cifar100"] = field("Source.")
    folder: str = _folder("data/raw/cifar100")
    download: Flag = _download()
    flip: Flag = _flip(True)


class Svhn(_LongTailed):
    """Street View House Numbers, cropped digits."""

    source: Literal["svhn"] = field("Source.")
    folder: str = _folder("data/raw/svhn")
    download: Flag = _download()
    flip: Flag = _flip(False)


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


IMAGE_SOURCES: dict[str, type[Block]] = {
    "digits": Digits,
    "image_folder": ImageFolder,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "svhn": Svhn,
    "celeba": CelebA,
}
"""Sources of images, by name."""

ImageSource = Digits | ImageFolder | Cifar10 | Cifar100 | Svhn | CelebA
"""A data set of images."""
