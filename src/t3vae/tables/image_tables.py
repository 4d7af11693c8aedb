"""Tables of an experiment on images: what its grids show, then classes and attributes.

An image is a row: its pixels are written as text, differences along each line of pixels
compressed with zlib, so that a grid of small images stays small.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from t3vae.errors import DataError
from t3vae.tables.by_class import EACH, each
from t3vae.tables.csv_files import frame

__all__ = ["ImageTables", "decode", "encode", "picks"]

Pixels = NDArray[np.uint8]

RECONSTRUCTION = "reconstruction"
IMAGE_COLUMNS = (
    *("model", "latent", "group", "position", "row", "channels", "height", "width", "pixels"),
)

ACROSS = {"reconstructions.csv": 5, "samples.csv": 3}
"""Images of each group in a grid."""

ATTRIBUTES = 3  # the rarest attributes that a grid shows


def encode(image: Pixels) -> str:
    """Return an image, uint8 [C, H, W], as text.

    Example:
        >>> x = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
        >>> bool((decode(encode(x), x.shape) == x).all())
        True
    """
    steps = np.diff(image, axis=-1, prepend=np.uint8(0)).astype(np.uint8)
    return base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode("ascii")


def decode(text: str, shape: Sequence[int]) -> Pixels:
    """Return the image that :func:`encode` wrote.

    Raises:
        DataError: the text is no image of this shape.
    """
    try:
        steps = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.uint8)
        return np.cumsum(steps.reshape(tuple(shape)), axis=-1, dtype=np.uint8)
    except (ValueError, zlib.error) as error:
        raise DataError(f"an image in a table is damaged ({error}). Collect again.") from error


def picks(rows: NDArray[np.integer[Any]], kinds: NDArray[Any] | None, count: int) -> list[int]:
    """Return ``count`` of the rows, of every kind (class) in turn, the first of each first.

    Example:
        >>> picks(np.array([0, 1, 2, 3]), np.array([5, 5, 5, 6]), 3)
        [0, 3, 1]
    """
    if kinds is None:
        return [int(row) for row in rows[:count]]
    order: list[tuple[int, int, int]] = []
    seen: dict[Any, int] = {}
    for row, kind in zip(rows, kinds, strict=True):
        turn = seen[kind] = seen.get(kind, -1) + 1
        order.append((turn, int(kind), int(row)))
    return [row for _, _, row in sorted(order)[:count]]


class ImageTables:
    """Gathers the tables of images over the runs of one experiment.

    Args:
        manifest: manifest of the data set.
        arrays: test images ``test``, and ``test_labels`` or ``test_attributes``.
        wanted: names of the tables.
    """

    def __init__(
        self, manifest: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], wanted: Iterable[str]
    ) -> None:
        self.manifest, self.test, self.wanted = manifest, arrays["test"], set(wanted)
        self.labels, self.attributes = arrays.get("test_labels"), arrays.get("test_attributes")
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ACROSS}

    def add(
        self,
        model: str,
        tensors: Mapping[str, NDArray[Any]],
        latents: Sequence[str],
        shown: Mapping[str, Mapping[str, Sequence[int]]],
    ) -> None:
        """Take images of one run.

        Args:
            model: its model.
            tensors: its samples.
            distributions: latent distributions that it draws from, without repetitions.
            shown: for each distribution the rows of samples in each group, from its metrics file.
        """
        if "reconstructions.csv" in self.wanted:
            chosen = self._chosen(len(tensors["reconstructions"]))
            if not self.rows["reconstructions.csv"]:
                self._take("reconstructions.csv", "", "test", self.test, chosen)
            own = tensors["reconstructions"]
            self._take("reconstructions.csv", model, RECONSTRUCTION, own, chosen)
        if "samples.csv" in self.wanted:
            latents = [latent for latent in ("alternative", "prior") if latent in latents][:1] + [
                latent for latent in latents if latent == "fitted"
            ]
            for latent in latents:
                generated = tensors[f"samples/{latent}"]
                groups = shown.get(latent) or {"all": list(range(len(generated)))}
                self._take("samples.csv", model, latent, generated, groups)

    def _chosen(self, count: int) -> dict[str, list[int]]:
        """Return the test images of each group, the same for all models."""
        found: dict[str, list[int]] = {}
        across = ACROSS["reconstructions.csv"]
        if self.labels is not None and self.manifest.get("groups"):
            for name, members in self.manifest["groups"].items():
                rows = np.flatnonzero(np.isin(self.labels[:count], members))
                found[name] = picks(rows, self.labels[rows], across)
        elif self.attributes is not None:
            names = list(self.manifest["attributes"])
            totals = self.attributes[:count].sum(0, dtype=np.int64)
            for i in sorted(range(len(names)), key=lambda i: (totals[i], names[i]))[:ATTRIBUTES]:
                rows = np.flatnonzero(self.attributes[:count, i])
                found[f"attribute:{names[i]}"] = picks(rows, None, across)
        return found or {"all": list(range(min(count, 3 * across)))}

    def _take(
        self,
        table: str,
        model: str,
        latent: str,
        images: NDArray[Any],
        groups: Mapping[str, Sequence[int]],
    ) -> None:
        across = ACROSS[table] if len(groups) > 1 else 3 * ACROSS[table]
        for group, rows in groups.items():
            for position, row in enumerate(list(rows)[:across]):
                place = model, latent, group, position, int(row), *images.shape[1:]
                line = (*place, encode(np.asarray(images[row])))
                self.rows[table].append(dict(zip(IMAGE_COLUMNS, line, strict=True)))

    def is_shared(self, entry: Mapping[str, Any]) -> bool:
        """Say whether an entry belongs into the tables of all metrics: no single class."""
        return not entry["group"].startswith(("class:", "attribute:"))

    def tables(self, entries: Sequence[Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
        """Return the tables by name.

        Args:
            entries: entries of all runs, each with ``model`` and ``seed``.
        """
        found = {name: frame(rows, IMAGE_COLUMNS) for name, rows in self.rows.items()}
        for name in EACH.keys() & self.wanted:
            found[name] = each(name, entries, self.manifest, self.attributes)
        return {name: table for name, table in found.items() if name in self.wanted}
