"""The prepare step: one data set becomes arrays and a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t3vae import datasets
from t3vae.datasets import raw_input
from t3vae.provenance import digests
from t3vae.runtime import layout

__all__ = ["run"]


def run(root: Path, config: Mapping[str, Any], dataset: str) -> None:
    """Build a data set and write its arrays and ``manifest.json`` below ``root``.

    Args:
        root: root folder of the contract paths.
        config: the resolved configuration of the data set.
        dataset: name of the data set.

    Raises:
        ConfigError: no such source, or parameters that make no distribution.
        DataError: the data cannot be had or written.
    """
    folder = layout.under(root, layout.prepared(dataset))
    config = {**config, "dataset": dataset}
    # before they are read: files that change meanwhile then differ from the record
    inputs = raw_input.digests(config, root)
    provenance = digests.provenance("prepare", config, inputs)
    datasets.prepare(config, folder, provenance, root)
