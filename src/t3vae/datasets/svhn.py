"""Street View House Numbers, cropped digits, from the MATLAB files (Netzer et al. 2011)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from t3vae.datasets.labelled import Images, assemble
from t3vae.errors import DataError
from t3vae.published.raw_files import RawFile, locate

__all__ = ["FILES", "ROWS", "read"]

URL = "http://ufldl.stanford.edu/housenumbers"

FILES = {
    "train": RawFile(
        "train_32x32.mat",
        182_040_794,
        {
            "md5": "e26dedcc434d2e4c54c9b2d4a06d8373",
            "sha256": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        },
        f"{URL}/train_32x32.mat",
    ),
    "test": RawFile(
        "test_32x32.mat",
        64_275_384,
        {
            "md5": "eb5a983be6a315427106f1b164d9cef3",
            "sha256": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        },
        f"{URL}/test_32x32.mat",
    ),
}
"""The published files, by split."""

ROWS = {"train": 73_257, "test": 26_032}
"""Their images."""


def read(config: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Read a data set with source ``svhn``; see :mod:`t3vae.datasets`.

    Args:
        config: its configuration.
        root: folder that a relative folder starts from.

    Raises:
        DataError: a file is missing, cut, damaged, another one, or has wrong counts.
    """
    found = locate(list(FILES.values()), config, root)
    parts = {split: _load(found[file.name][0], ROWS[split]) for split, file in FILES.items()}
    return assemble(
        config,
        [str(digit) for digit in range(10)],
        parts["train"],
        parts["test"],
        sources={name: described for name, (_, described) in found.items()},
    )


def _load(path: Path, rows: int) -> Images:
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["X", "y"])
        images, labels = content["X"], content["y"]
    except Exception as error:  # whatever a damaged MATLAB file makes of the reader
        raise DataError(f"{path}: not a MATLAB file with X and y ({error}).") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise DataError(
            f"{path}: X is {images.dtype} {list(images.shape)}, not uint8 [32, 32, 3, N]."
        )
    if labels.size != images.shape[3] or images.shape[3] != rows:
        raise DataError(
            f"{path}: {images.shape[3]} images and {labels.size} labels instead of {rows}."
        )
    digits = labels.reshape(-1).astype(np.int64)
    if digits.min() < 1 or digits.max() > 10:
        raise DataError(f"{path}: labels must be from 1 to 10 (10 for the digit 0).")
    return Images(np.ascontiguousarray(images.transpose(3, 2, 0, 1)), digits % 10)
