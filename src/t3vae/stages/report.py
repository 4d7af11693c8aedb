"""Report: one page from the tables and figures of a suite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t3vae.report.page import build
from t3vae.runtime import files, layout

__all__ = ["run"]


def run(root: Path, config: Mapping[str, Any]) -> None:
    """Write ``results/report.html``.

    Args:
        root: folder of the contract paths.
        config: resolved configuration: the suite and its experiments.

    Raises:
        DataError: a table or figure is missing.
    """
    files.write_text(layout.under(root, layout.report()), build(root, config))
