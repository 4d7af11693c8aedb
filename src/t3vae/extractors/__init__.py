"""Feature extractors: what metrics of images look at instead of pixels.

An extractor turns images (uint8) into features, and the one that was trained on the data
set's own classes also says which class it sees. Each is a module with a function
``load(options, folder, device)``; modules are loaded by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from t3vae.errors import DataError
from t3vae.settings import catalogue
from t3vae.settings.metrics import EXTRACTORS

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Extracted", "Extractor", "MissingWeightsError", "load"]


class Extracted(NamedTuple):
    """Features of images.

    Attributes:
        features: float32 [N, f].
        predicted: class that the extractor sees, [N], or None where it knows no classes.
    """

    features: np.ndarray
    predicted: np.ndarray | None


class Extractor(Protocol):
    """What :func:`load` returns."""

    protocol: str
    """What it is and how images are prepared for it."""

    def extract(self, images: np.ndarray) -> Extracted:
        """Return the features of images, uint8 [N, C, H, W]."""


class MissingWeightsError(DataError):
    """The published weights of an extractor are not on this machine."""


def load(name: str, options: Mapping[str, Any], folder: Path, device: str = "cpu") -> Extractor:
    """Return an extractor, ready for use.

    Args:
        name: a name of :data:`t3vae.settings.metrics.EXTRACTORS`.
        options: its part of the resolved configuration.
        folder: folder of the prepared data set.
        device: where it computes.

    Raises:
        ConfigError: no such extractor, or a device that cannot be used here.
        MissingWeightsError: its weights are not here.
        DataError: its weights are damaged.
    """
    from t3vae.runtime import accelerator

    accelerator.usable(device)
    found: Extractor = catalogue.load(EXTRACTORS, name, "extractor")(options, folder, device)
    return found
