"""The 8 x 8 digits that scikit-learn ships (Alpaydin and Kaynak 1998): no file is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from t3vae.datasets.labelled import Images, assemble
from t3vae.errors import ConfigError

__all__ = ["read"]

LEVELS = 16  # the digits have values 0 to 16


def read(config: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Read a data set with source ``digits``; see :mod:`t3vae.datasets`.

    Values 0 to 16 become 0 to 255.

    Args:
        config: its configuration.
        root: not used; nothing is read below it.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ConfigError(
            f"scikit-learn cannot be imported ({error}), and its digits are the data. "
            "Install the extra: pip install 't3vae[images]'."
        ) from error
    found = load_digits()
    images = np.rint(found.images * (255 / LEVELS)).astype(np.uint8)[:, None]
    labels = found.target.astype(np.int64)
    checksum = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return assemble(
        config,
        [str(digit) for digit in range(10)],
        Images(images, labels),
        None,
        sources={"sklearn.datasets.load_digits": {"sha256": checksum}},
    )
