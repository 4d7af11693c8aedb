"""Data sets: sources of data, and the files that the prepare step writes.

A source is a module with a function ``build(config)`` that returns the arrays, the tail
index of each column and whatever else its manifest should say. A source that reads files of
the user has ``read(config, root)`` instead; relative folders start at the root folder. A
source with a known distribution also has a function ``distribution(config)``. Sources are imported
when they are used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t3vae.errors import ConfigError, DataError
from t3vae.runtime import files
from t3vae.settings import catalogue
from t3vae.settings.catalogue import Source
from t3vae.settings.sources import SOURCES, source_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["SPLITS", "load_distribution", "names", "prepare"]

SPLITS = ("train", "validation", "test")


def names(config: Mapping[str, Any]) -> list[str]:
    """Return the array files of a data set, beside its ``manifest.json``.

    Args:
        config: the resolved configuration of the data set.

    Example:
        >>> names({"source": "t_mixture_1d"})
        ['train.npy', 'validation.npy', 'test.npy']
    """
    return _entry(config).array_files


def prepare(
    config: Mapping[str, Any],
    folder: Path,
    provenance: Mapping[str, Any],
    root: Path | None = None,
) -> None:
    """Build a data set and write its arrays, then its manifest.

    The manifest is written last, and removed first: as long as it is missing, the data set
    is not there. An error leaves no part of a data set behind.

    Args:
        config: the resolved configuration, with ``dataset`` and ``source``.
        folder: where the files go.
        provenance: what made them; goes into the manifest.
        root: folder that relative folders of the configuration start from; by default the
            working folder.

    Raises:
        ConfigError: no such source.
        DataError: raw files are missing or damaged, an array holds a value that is not
            finite, or cannot be written.
    """
    function = catalogue.load({config["source"]: _entry(config)}, config["source"], "source")
    places = (Path() if root is None else Path(root),) if function.__name__ == "read" else ()
    built, manifest = function(config, *places), folder / "manifest.json"
    arrays = {}
    try:
        manifest.unlink(missing_ok=True)
        for file in names(config):
            array = built["arrays"][file.removesuffix(".npy")]
            arrays[file] = _describe(folder / file, array)
            files.write_npy(folder / file, array)
        description = {
            **built.get("extra", {}),
            "dataset": config["dataset"],
            "config": dict(config),
            "arrays": arrays,
            "tail_index": built["tail_index"],
            "provenance": dict(provenance),
        }
        files.write_json(manifest, description)
    except BaseException:
        for path in (*(folder / name for name in names(config)), manifest):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise


def load_distribution(config: Mapping[str, Any]) -> Any | None:
    """Return the exact distribution of a data set, or None where it is not known.

    Args:
        config: the resolved configuration of the data set.

    Raises:
        ConfigError: no such source.
    """
    module = import_module(_entry(config).code.partition(":")[0])
    distribution = getattr(module, "distribution", None)
    return None if distribution is None else distribution(config)


def _entry(config: Mapping[str, Any]) -> Source:
    found = source_of(config)
    if found is None:
        raise ConfigError(
            f"source = {config.get('source')!r}: no such data source. "
            f"Known sources: {', '.join(SOURCES)}."
        )
    return found


def _describe(path: Path, array: np.ndarray) -> dict[str, Any]:
    low, high = float(array.min()), float(array.max())
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise DataError(f"{path}: a value is infinite or not a number; nothing written")
    content = array if array.flags.c_contiguous else array.copy(order="C")
    return {
        "sha256": hashlib.sha256(content.data).hexdigest(),
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "min": low,
        "max": high,
    }
